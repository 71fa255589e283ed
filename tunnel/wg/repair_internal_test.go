package wg

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// oneNetstack opens an interface with one peer.
func oneNetstack(t *testing.T) (*Interface, wgtypes.Key) {
	t.Helper()
	var keys [2]wgtypes.Key
	for n := range keys {
		key, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[n] = key
	}
	i, err := Open(t.Context(), Config{Mode: Netstack, PrivateKey: keys[0], Address: netip.MustParseAddr("10.255.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	peer := keys[1].PublicKey()
	if err := i.AddPeer(Peer{PublicKey: peer, AllowedIP: netip.MustParseAddr("10.255.0.2")}); err != nil {
		t.Fatal(err)
	}
	return i, peer
}

// slowTable is a table whose readings are held up.
type slowTable struct {
	table
	made    chan struct{} // receives when the reading was made
	proceed chan struct{} // closed when it may be used
}

func (s *slowTable) read() (held, error) {
	h, err := s.table.read()
	s.made <- struct{}{}
	<-s.proceed
	return h, err
}

// TestRemovalDuringRepair removes a peer between the moment at which a repair has seen that it is
// missing and the one at which it is added again.
func TestRemovalDuringRepair(t *testing.T) {
	t.Parallel()
	i, peer := oneNetstack(t)
	if err := i.table.set(false, []change{{peer: Peer{PublicKey: peer}, remove: true}}); err != nil {
		t.Fatal(err)
	}
	fast, slow := i.table, &slowTable{i.table, make(chan struct{}), make(chan struct{})}
	i.table = slow
	repaired, removed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(repaired)
		if _, err := i.Repair(); err != nil {
			t.Error(err)
		}
	}()
	<-slow.made
	go func() {
		defer close(removed)
		if err := i.RemovePeer(peer); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-removed:
		t.Error("the removal did not wait for the repair")
	case <-time.After(50 * time.Millisecond):
	}
	close(slow.proceed)
	<-repaired
	<-removed
	if h, err := fast.read(); err != nil || len(h.peers) != 0 {
		t.Errorf("%d peers after the removal, %v", len(h.peers), err)
	}
}

// brokenTable takes no changes.
type brokenTable struct{ table }

var errBroken = errors.New("broken")

func (brokenTable) set(bool, []change) error { return errBroken }

// TestFailedRemovalIsMadeUpFor removes peers when the device takes no changes. Nobody asks again.
func TestFailedRemovalIsMadeUpFor(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*Interface, wgtypes.Key) error{
		"one": (*Interface).RemovePeer,
		"all": func(i *Interface, _ wgtypes.Key) error { return i.SetPeers(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, peer := oneNetstack(t)
			working := i.table
			i.table = brokenTable{working}
			if err := remove(i, peer); !errors.Is(err, errBroken) {
				t.Fatalf("remove: %v", err)
			}
			if _, err := i.Repair(); !errors.Is(err, errBroken) {
				t.Errorf("repair: %v", err)
			}
			i.table = working
			if got, err := i.Repair(); err != nil || len(got) != 1 {
				t.Errorf("repaired %q, %v", got, err)
			}
			if h, err := working.read(); err != nil || len(h.peers) != 0 {
				t.Errorf("%d peers, %v", len(h.peers), err)
			}
		})
	}
}
