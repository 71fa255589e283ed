package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// announces makes an engine tell its agents of further addresses.
func (e *engine) announces(addresses ...string) {
	e.welcome = func(w *wire.Welcome) { w.Protocol, w.Addresses = wire.Protocol, addresses }
}

// silent is an address at which nobody listens.
const silent = "127.0.0.1:1"

// TestEngineMovesToAnAddressThatItAnnounced: the agent finds it there with the keys that it has. At
// one address in between somebody else answers, who gets nothing.
func TestEngineMovesToAnAddressThatItAnnounced(t *testing.T) {
	t.Parallel()
	e, stranger := newEngine(t), newEngine(t)
	old := e.address
	stop := e.stop
	e.serve(t, "127.0.0.1:0") // The second listener, with the same keys.
	next := e.address
	e.announces(stranger.address, next)
	e.address = old
	d := newDevice(t, e)
	e.channel(t)
	d.log.expect(t, "msg=engine_addresses", stranger.address+" "+next)
	if all, err := agent.Whereabouts(d.data); err != nil || cmp.Diff([]string{old, stranger.address, next}, all) != "" {
		t.Errorf("it knows %v, %v", all, err)
	}
	before, err := agent.ReadFingerprint(d.data)
	if err != nil {
		t.Fatal(err)
	}

	stop() // The first one is gone.
	c := e.channel(t)
	if c.hello.Dialled != next {
		t.Errorf("it dialled %s, want %s", c.hello.Dialled, next)
	}
	d.log.expect(t, "msg=address_skipped", "addr="+next, stranger.address+" is not the expected engine")
	d.log.expect(t, "msg=agent_connected", "addr="+next)
	if s := d.Status(); s.Engine != next {
		t.Errorf("status has the engine at %s", s.Engine)
	}
	if after, err := agent.ReadFingerprint(d.data); err != nil || after != before {
		t.Errorf("the fingerprint is %+v, %v, and was %+v", after, err, before)
	}
	select {
	case c := <-stranger.channels:
		t.Errorf("somebody else heard %+v", c.hello)
	default:
	}
	if r, err := agent.Reach(t.Context(), d.data); err != nil || r.Address != next {
		t.Errorf("it reaches %+v, %v", r, err)
	}

	c.ws.CloseNow() // What was good last comes first.
	again := e.channel(t)
	if again.hello.Dialled != next {
		t.Errorf("it dialled %s, want %s", again.hello.Dialled, next)
	}
	if n := strings.Count(d.log.String(), "msg=address_skipped"); n != 2 {
		t.Errorf("%d addresses were skipped, want 2", n)
	}
}

// TestAnnouncedAddressesAreAllThereAre: an announcement replaces the one before; an engine that
// knows nothing of announcements replaces nothing.
func TestAnnouncedAddressesAreAllThereAre(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	var welcomes atomic.Int32
	e.welcome = func(w *wire.Welcome) {
		w.Protocol = wire.Protocol
		switch welcomes.Add(1) {
		case 1:
			w.Addresses = []string{"a.example:1", "b.example:2"}
		case 2:
			w.Protocol = 0
		case 3:
			w.Addresses = []string{"c.example:3"}
		}
	}
	d := newDevice(t, e)
	for n, want := range [][]string{{"a.example:1", "b.example:2"}, {"a.example:1", "b.example:2"}, {"c.example:3"}, {}} {
		c := e.channel(t)
		d.connected(t, n+1)
		kept, err := keys.ReadAddresses(vpnClient(d.data))
		if err != nil || strings.Join(kept.Announced, " ") != strings.Join(want, " ") {
			t.Errorf("after welcome %d kept is %+v, %v, want %v", n+1, kept, err, want)
		}
		c.ws.CloseNow()
	}
}

// connected waits until the agent has connected n times.
func (d *device) connected(t *testing.T, n int) {
	t.Helper()
	for timeout := time.After(patience); ; {
		d.log.state.mu.Lock()
		text, changed := d.log.state.text.String(), d.log.state.changed
		d.log.state.mu.Unlock()
		if strings.Count(text, "msg=agent_connected") >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the agent has not connected %d times:\n%s", n, text)
		}
	}
}

// TestMove of an agent that runs: it dials the new address next, and is not restarted.
func TestMove(t *testing.T) {
	t.Parallel()
	e, stranger := newEngine(t), newEngine(t)
	old, stop := e.address, e.stop
	e.serve(t, "127.0.0.1:0")
	next := e.address
	e.address = old
	d := newDevice(t, e)
	e.channel(t)
	for _, wrong := range []string{stranger.address, silent, "nowhere"} {
		if _, err := agent.Move(t.Context(), d.data, wrong); err == nil {
			t.Errorf("it moves to %s", wrong)
		} else if _, is := errors.AsType[*agent.PinError](err); is != (wrong == stranger.address) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if all, err := agent.Whereabouts(d.data); err != nil || len(all) != 1 {
		t.Errorf("after moves that failed it knows %v, %v", all, err)
	}
	if r, err := agent.Move(t.Context(), d.data, next); err != nil || r.Address != next || r.Engine != e.keys.Identity.Pin() {
		t.Fatalf("it moves to %+v, %v", r, err)
	}
	stop()
	if c := e.channel(t); c.hello.Dialled != next {
		t.Errorf("it dialled %s, want %s", c.hello.Dialled, next)
	}
	if f, err := agent.ReadFingerprint(d.data); err != nil || f.Address != next {
		t.Errorf("the fingerprint is %+v, %v", f, err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	e.address = next
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: codeFor(e).String()}); err != nil {
		t.Fatal(err)
	}
	if kept, err := keys.ReadAddresses(vpnClient(d.data)); err != nil || kept.Moved != "" { // The code says where it is.
		t.Errorf("after enrolling again, kept is %+v, %v", kept, err)
	}
}

// TestDamagedAddresses leave the one of the enrolment, and are mended by the next announcement.
func TestDamagedAddresses(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.announces("a.example:1")
	d := newDevice(t, e)
	c := e.channel(t)
	d.connected(t, 1)
	path := filepath.Join(vpnClient(d.data), "addresses.json")
	if err := os.WriteFile(path, []byte(`{"announced": ["nonsense"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ws.CloseNow()
	e.channel(t)
	d.connected(t, 2)
	d.log.expect(t, "msg=addresses_unread", "addresses.json is damaged")
	if kept, err := keys.ReadAddresses(vpnClient(d.data)); err != nil || len(kept.Announced) != 1 {
		t.Errorf("kept is %+v, %v", kept, err)
	}
}
