package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/wg"
)

// byHand are the timers of a manager, which the test lets go off. It holds on to those of trials
// only.
type byHand struct {
	mu   sync.Mutex
	call map[string]func()
}

func (b *byHand) after(device string, long time.Duration, call func()) (stop func() bool) {
	if long != pathTrialLasts {
		return afterTime(device, long, call)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.call[device] = call
	return func() bool { return true }
}

// fire lets the time of a trial be up.
func (b *byHand) fire(device string) {
	b.mu.Lock()
	call := b.call[device]
	b.mu.Unlock()
	call()
}

// newTrialRig is a rig on which the time of trials is the test's.
func newTrialRig(t *testing.T) (*rig, *byHand) {
	t.Helper()
	b := &byHand{call: make(map[string]func())}
	return newRig(t, func(c *Config) { c.after = b.after }), b
}

// A tryer is the device's side of a trial.
type tryer struct {
	request wire.TrialRequest
	private wgtypes.Key
}

func newTryer(t *testing.T) tryer {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return tryer{wire.TrialRequest{Key: private.PublicKey().String(), Dialled: "127.0.0.1:1"}, private}
}

func (y tryer) done() wire.TrialRequest {
	r := y.request
	r.Done = true
	return r
}

// shake brings the device's WireGuard up, with the engine as its peer.
func (y tryer) shake(t *testing.T, r *rig, at wire.Trial, from netip.Addr) *wg.Interface {
	t.Helper()
	i, err := wg.Open(t.Context(), wg.Config{Mode: wg.Netstack, Name: "host", PrivateKey: y.private, Address: from, Route: netip.PrefixFrom(r.engineIP, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	server, err := wgtypes.ParseKey(at.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.AddPeer(wg.Peer{PublicKey: server, AllowedIP: r.engineIP, Endpoint: netip.MustParseAddrPort(at.Endpoint), Keepalive: time.Second}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := i.Handshake(ctx, server); err != nil {
		t.Fatalf("no handshake in a trial: %v", err)
	}
	return i
}

// TestPathTrial: a device without a tunnel makes a real handshake, the engine says that it was
// heard, and nothing of it is left but one record.
func TestPathTrial(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	d, _ := r.device(t, "PC")
	y := newTryer(t)
	trial, err := r.TryPath(t.Context(), d.ID, y.request)
	if err != nil {
		t.Fatal(err)
	}
	if trial.Endpoint != fmt.Sprintf("127.0.0.1:%d", r.Link().Port) || trial.Seconds != 10 || trial.Heard {
		t.Errorf("the trial is %+v", trial)
	}
	if n := r.peers(t); n != 1 {
		t.Fatalf("%d peers", n)
	}
	y.shake(t, r, trial, netip.MustParseAddr("192.0.2.1"))
	over, err := r.TryPath(t.Context(), d.ID, y.done())
	if err != nil || !over.Heard || over.Seconds != 0 {
		t.Errorf("at its end: %+v, %v", over, err)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers are left", n)
	}
	if again, err := r.TryPath(t.Context(), d.ID, y.done()); err != nil || !again.Heard {
		t.Errorf("asked once more: %+v, %v", again, err)
	}
	if n := len(r.records(t, store.RecordQuery{DeviceID: d.ID, Kind: "path_trial"})); n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestPathTrialUnheard: of a device whose packets do not come, nothing is heard.
func TestPathTrialUnheard(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	d, _ := r.device(t, "PC")
	y := newTryer(t)
	if _, err := r.TryPath(t.Context(), d.ID, y.request); err != nil {
		t.Fatal(err)
	}
	if over, err := r.TryPath(t.Context(), d.ID, newTryer(t).done()); !errors.Is(err, ErrNoTrial) {
		t.Errorf("with another key: %+v, %v", over, err)
	}
	if over, err := r.TryPath(t.Context(), d.ID, y.done()); err != nil || over.Heard {
		t.Errorf("%+v, %v", over, err)
	}
}

// TestPathTrialPassesNothing: in a trial no packet passes, in either direction, even one from an
// address that belongs to a live tunnel.
func TestPathTrialPassesNothing(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	h := r.join(t)
	victim := r.up(t, h, holder("nora"))
	d, _ := r.device(t, "PC")
	y := newTryer(t)
	trial, err := r.TryPath(t.Context(), d.ID, y.request)
	if err != nil {
		t.Fatal(err)
	}
	link, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := link.ListenTCP(netip.AddrPortFrom(r.engineIP, 4711))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, from := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), victim.VirtualIP} {
		i := y.shake(t, r, trial, from)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if c, err := i.DialTCP(ctx, netip.AddrPortFrom(r.engineIP, 4711)); err == nil {
			c.Close()
			t.Errorf("a connection from %s reached the engine", from)
		}
		cancel()
		back, err := i.ListenTCP(netip.AddrPortFrom(from, 4712))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		if c, err := link.DialTCP(ctx, netip.AddrPortFrom(from, 4712)); err == nil {
			c.Close()
			t.Errorf("the engine reached %s through a trial", from)
		}
		cancel()
		back.Close()
		i.Close()
	}
	key, err := wgtypes.ParseKey(y.request.Key)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok, err := link.Peer(key); err != nil || !ok || len(p.AllowedIPs) != 0 {
		t.Errorf("the peer has %v: %v, %v", p.AllowedIPs, ok, err)
	}
	if proof, err := r.Prove(t.Context(), h.device.ID); err != nil || !proof.OK() {
		t.Errorf("the live tunnel: %+v, %v", proof, err)
	}
}

// TestPathTrialRefused: who may not have a tunnel, or has one, tries nothing.
func TestPathTrialRefused(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	try := func(id string) error {
		_, err := r.TryPath(t.Context(), id, newTryer(t).request)
		return err
	}
	pending, _ := r.device(t, "pending", func(c *store.Code) { c.AutoApprove = false })
	revoked, _ := r.device(t, "revoked")
	locked, _ := r.device(t, "locked")
	if err := r.store.SetDeviceState(t.Context(), revoked.ID, store.Revoked, time.Now(), store.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockDevice, Target: locked.ID}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	for id, want := range map[string]error{pending.ID: ErrPending, revoked.ID: ErrRevoked, locked.ID: ErrLocked, h.device.ID: ErrActive, "nobody": ErrUnknownDevice} {
		if err := try(id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	thief, _ := r.device(t, "thief") // it names the key of another device's tunnel
	_, err := r.TryPath(t.Context(), thief.ID, wire.TrialRequest{Key: st.AgentPublicKey})
	if !errors.Is(err, ErrTrying) {
		t.Errorf("with a tunnel's key: %v", err)
	}
	if n := r.peers(t); n != 1 {
		t.Errorf("%d peers, want the tunnel's", n)
	}
	if now, err := r.Status(t.Context(), h.device.ID); err != nil || !now.Up() || now.LastHandshake.IsZero() {
		t.Errorf("the tunnel is %+v, %v", now, err)
	}
	if _, err := r.TryPath(t.Context(), thief.ID, wire.TrialRequest{Key: "no key"}); err == nil {
		t.Error("a trial without a key")
	}
	if n := len(r.records(t, store.RecordQuery{Kind: "path_trial"})); n != 0 {
		t.Errorf("%d trials are on record", n)
	}
}

// TestPathTrialsAreBounded: one trial of a device at a time and in five seconds, and sixteen of
// all; what was refused leaves no peer.
func TestPathTrialsAreBounded(t *testing.T) {
	t.Parallel()
	r, clock := newTrialRig(t)
	try := func(id string) error {
		_, err := r.TryPath(t.Context(), id, newTryer(t).request)
		return err
	}
	var ids []string
	for i := range pathTrialsMost {
		d, _ := r.device(t, fmt.Sprint("PC-", i))
		ids = append(ids, d.ID)
		if err := try(d.ID); err != nil {
			t.Fatal(err)
		}
	}
	more, _ := r.device(t, "one more")
	if _, err := r.TryPath(t.Context(), more.ID, wire.TrialRequest{Key: r.paths.find(ids[0]).key.String()}); !errors.Is(err, ErrTrying) {
		t.Errorf("with the key of another trial: %v", err)
	}
	for range 50 {
		if err := try(ids[0]); !errors.Is(err, ErrTrying) {
			t.Fatalf("a second one at a time: %v", err)
		}
		if err := try(more.ID); !errors.Is(err, ErrTrying) {
			t.Fatalf("one too many: %v", err)
		}
	}
	if n := r.peers(t); n != pathTrialsMost {
		t.Errorf("%d peers", n)
	}
	for _, id := range ids {
		clock.fire(id)
		<-r.paths.find(id).gone
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers are left when the time is up", n)
	}
	if err := try(ids[0]); !errors.Is(err, ErrTrying) {
		t.Errorf("too soon after the last one: %v", err)
	}
	r.paths.mu.Lock()
	r.paths.tried[ids[0]].began = time.Now().Add(-pathTrialEvery)
	for _, id := range ids[1:] {
		r.paths.tried[id].began = time.Now().Add(-time.Minute)
	}
	r.paths.mu.Unlock()
	if err := try(ids[0]); err != nil {
		t.Errorf("after five seconds: %v", err)
	}
	r.paths.mu.Lock()
	n := len(r.paths.tried)
	r.paths.mu.Unlock()
	if n > 1 {
		t.Errorf("%d trials are remembered", n)
	}
	if n := len(r.records(t, store.RecordQuery{Kind: "path_trial"})); n != pathTrialsMost+1 {
		t.Errorf("%d records", n)
	}
}

// TestPathTrialEnds: a device that is cut off, a lost interface, and the end of the manager end a
// trial.
func TestPathTrialEnds(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	d, _ := r.device(t, "PC")
	begin := func() *pathTrial {
		t.Helper()
		if _, err := r.TryPath(t.Context(), d.ID, newTryer(t).request); err != nil {
			t.Fatal(err)
		}
		p := r.paths.find(d.ID)
		r.paths.mu.Lock()
		p.began = time.Now().Add(-pathTrialEvery) // the next one may follow
		r.paths.mu.Unlock()
		return p
	}
	begin()
	r.Drop(t.Context(), d.ID, DeviceRevoked)
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers of a device that was cut off", n)
	}
	lost := begin()
	if err := lost.link.Close(); err != nil {
		t.Fatal(err)
	}
	<-lost.gone
	r.until(t, func() bool { i, err := r.openLink(); return err == nil && i != lost.link })
	last := begin()
	r.Close()
	<-last.gone
	if _, err := r.TryPath(t.Context(), d.ID, newTryer(t).request); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// TestPathTrialUnrecorded: what cannot be recorded is not tried.
func TestPathTrialUnrecorded(t *testing.T) {
	t.Parallel()
	r, _ := newTrialRig(t)
	d, _ := r.device(t, "PC")
	trail := r.saboteur(t)
	trail.spoil("path_trial")
	_, err := r.TryPath(t.Context(), d.ID, newTryer(t).request)
	refusesToRecord(t, r, err)
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
	trail.mend()
	r.until(t, r.settled)
	if _, err := r.TryPath(t.Context(), d.ID, newTryer(t).request); err != nil {
		t.Errorf("with the trail back: %v", err)
	}
}
