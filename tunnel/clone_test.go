package tunnel

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

// alive is the ping of an agent that is there.
func alive(context.Context) error { return nil }

// deaf is the ping of an agent whose network is gone.
func deaf(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// once returns the ping of an agent whose network goes after its first answer.
func once() func(context.Context) error {
	var asked atomic.Int32
	return func(ctx context.Context) error {
		if asked.Add(1) == 1 {
			return nil
		}
		return deaf(ctx)
	}
}

// soon makes a manager ask soon.
func soon(c *Config) { c.PingAnswer, c.PingAgain = 50*time.Millisecond, 10*time.Millisecond }

// helloOf is what the agent of a device says first.
func helloOf(d store.Device, machine string) wire.Hello {
	return wire.Hello{Nonce: testNonce, Hostname: d.Hostname, OS: "linux", Link: "netstack", Dialled: "127.0.0.1:1", Machine: machine}
}

// connect joins a device's agent that answers pings in its own way.
func (r *rig) connect(t *testing.T, d store.Device, addr string, ping func(context.Context) error) *Channel {
	t.Helper()
	c, err := r.Join(t.Context(), d, helloOf(d, d.Machine), addr, r.keys.Identity, ping)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Leave)
	return c
}

// wait fails the test when a channel does not end.
func (c *Channel) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.over:
	case <-time.After(20 * time.Second):
		t.Fatal("the channel does not end")
	}
}

// state is what the store has about a device.
func (r *rig) state(t *testing.T, d store.Device) string {
	t.Helper()
	now, err := r.store.Device(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now.State
}

// quarantined returns the records that tell that a device was set aside.
func (r *rig) quarantined(t *testing.T, d store.Device) []store.Record {
	t.Helper()
	return r.records(t, store.RecordQuery{DeviceID: d.ID, Kind: "device_quarantined"})
}

func TestTwoAgentsWithOneKeyAreSetAside(t *testing.T) {
	t.Parallel()
	r := newRig(t, soon)
	h := r.join(t, func(h *host) { h.ping = alive })
	st := r.up(t, h, holder("nora"))
	clone := r.connect(t, h.device, "192.0.2.7", alive)
	h.channel.wait(t)
	clone.wait(t)
	if got := r.ending(t, st.TunnelID); got != AgentLost && got != DeviceRevoked { // The clone did not hold it.
		t.Errorf("the tunnel ended as %s", got)
	}
	if got := r.state(t, h.device); got != store.Quarantined {
		t.Errorf("the device is %s", got)
	}
	records := r.quarantined(t, h.device)
	if len(records) != 1 || records[0].Reason != "cloned" || !strings.Contains(records[0].Detail, "127.0.0.1 and at 192.0.2.7") || records[0].Actor != "" {
		t.Errorf("records are %+v", records)
	}
	if _, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrRevoked) {
		t.Errorf("Connect: %v", err)
	}
}

func TestTunnelOfACloneEnds(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	r := newRig(t, func(c *Config) { c.PingAnswer = time.Minute; c.PingAgain = time.Millisecond })
	d, id := r.device(t, "PC")
	var questions atomic.Int32
	r.connect(t, d, "192.0.2.1", func(ctx context.Context) error {
		if questions.Add(1) == 2 { // Only once the tunnel of the newer one is up.
			select {
			case <-asked:
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	})
	h := &host{t: t, rig: r, device: d, identity: id, ping: alive}
	h.online("")
	t.Cleanup(h.offline)
	st := r.up(t, h, holder("nora"))
	close(asked)
	if got := r.ending(t, st.TunnelID); got != DeviceRevoked {
		t.Errorf("the tunnel ended as %s", got)
	}
	h.channel.wait(t)
	if got := r.state(t, d); got != store.Quarantined {
		t.Errorf("the device is %s", got)
	}
}

func TestOneAgentIsNotTakenForTwo(t *testing.T) {
	t.Parallel()
	gone := func(context.Context) error { return errors.New("connection reset") }
	tests := map[string]struct {
		older, newer func(context.Context) error
		meanwhile    func(older, newer *Channel)
		newerStays   bool
	}{
		"it restarted":              {older: gone, newer: alive, newerStays: true},
		"its network changed":       {older: deaf, newer: alive, newerStays: true},
		"it fell silent":            {older: once(), newer: alive, newerStays: true},
		"it was still going":        {older: alive, newer: alive, newerStays: true, meanwhile: func(older, _ *Channel) { older.Leave() }},
		"it went a moment later":    {older: alive, newer: alive, newerStays: true, meanwhile: func(older, _ *Channel) { go older.Leave() }},
		"the newer one went":        {older: alive, newer: alive, meanwhile: func(_, newer *Channel) { newer.Leave() }},
		"the newer does not answer": {older: alive, newer: deaf, newerStays: true},
		"the newer is gone, silent": {older: alive, newer: gone, newerStays: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, soon)
			d, _ := r.device(t, "PC")
			var older, newer *Channel
			var asked atomic.Int32
			joined := make(chan struct{})
			older = r.connect(t, d, "192.0.2.1", func(ctx context.Context) error {
				<-joined
				if asked.Add(1) == 1 && tt.meanwhile != nil {
					tt.meanwhile(older, newer)
				}
				return tt.older(ctx)
			})
			newer = r.connect(t, d, "192.0.2.2", tt.newer)
			if p, ok := r.Online(d.ID); !ok || p.Addr != "192.0.2.2" {
				t.Errorf("the newer one is not served at once: %+v", p)
			}
			close(joined)
			older.wait(t)
			if _, online := r.Online(d.ID); online != tt.newerStays {
				t.Errorf("the newer one is online: %v", online)
			}
			r.Close() // Nothing is decided any more.
			if got := r.state(t, d); got != store.Active {
				t.Errorf("the device is %s", got)
			}
			if records := r.quarantined(t, d); len(records) != 0 {
				t.Errorf("records are %+v", records)
			}
			if got := asked.Load(); got < 1 {
				t.Error("nobody asked")
			}
		})
	}
}

func TestNewerConnectionStaysWhenTheOlderIsSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t, soon)
	d, _ := r.device(t, "PC")
	channels := []*Channel{r.connect(t, d, "192.0.2.1", deaf)}
	for range 5 { // An agent that loses its connection again and again.
		channels = append(channels, r.connect(t, d, "192.0.2.2", deaf))
	}
	for _, c := range channels[:5] {
		c.wait(t)
	}
	select {
	case <-channels[5].over:
		t.Error("the newest connection is cut")
	default:
	}
	if got := r.state(t, d); got != store.Active {
		t.Errorf("the device is %s", got)
	}
}

func TestCloseDoesNotWaitForTwins(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.PingAnswer, c.PingAgain = time.Hour, time.Hour })
	d, _ := r.device(t, "PC")
	asked := make(chan struct{})
	waiting := r.connect(t, d, "192.0.2.1", func(ctx context.Context) error { close(asked); return deaf(ctx) })
	answered := r.connect(t, d, "192.0.2.2", alive) // And is asked again in an hour.
	<-asked
	r.connect(t, d, "192.0.2.3", alive)
	r.Close()
	waiting.wait(t)
	answered.wait(t)
}

func TestIdentityOnAnotherMachineIsSetAside(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device(t, "PC")
	d.Machine = "v2.aaaa" // As it enrolled.
	h := &host{t: t, rig: r, device: d, identity: id}
	h.online("")
	t.Cleanup(h.offline)
	st := r.up(t, h, holder("nora"))
	if _, err := r.Join(t.Context(), d, helloOf(d, "v2.bbbb"), "192.0.2.7", r.keys.Identity, alive); err == nil {
		t.Error("it joins")
	}
	h.channel.wait(t)
	if got := r.ending(t, st.TunnelID); got != DeviceRevoked {
		t.Errorf("the tunnel ended as %s", got)
	}
	if got := r.state(t, d); got != store.Quarantined {
		t.Errorf("the device is %s", got)
	}
	if records := r.quarantined(t, d); len(records) != 1 || records[0].Reason != "identity_copied" || !strings.Contains(records[0].Detail, "192.0.2.7") {
		t.Errorf("records are %+v", records)
	}
}

func TestSameMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		enrolled, said string
		same           bool
	}{
		{"v2.aaaa", "v2.aaaa", true},
		{"v2.aaaa", "v2.bbbb", false},
		{"v2.aaaa", "v2.", false},
		{"", "v2.aaaa", true},
		{"v2.aaaa", "", true},
		{"", "", true},
		{"aaaa", "v2.bbbb", true}, // Of an earlier version, which knew the machine alone.
		{"v2.aaaa", "v3.bbbb", true},
		{"aaaa", "bbbb", true},
	} {
		if got := sameMachine(c.enrolled, c.said); got != c.same {
			t.Errorf("enrolled %q, said %q: %v", c.enrolled, c.said, got)
		}
	}
}

func TestAgentAndWatchersHearOfADecision(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC", func(c *store.Code) { c.AutoApprove = false })
	c := r.connect(t, d, "192.0.2.1", alive)
	if m := <-c.Outgoing(); m.Welcome == nil || m.Welcome.State != store.Pending {
		t.Fatalf("the first message is %+v", m)
	}
	changes, stop := r.Watch()
	defer stop()
	r.StateChanged(d.ID, store.Active)
	if m := <-c.Outgoing(); m.State == nil || m.State.State != store.Active {
		t.Errorf("the agent hears %+v", m)
	}
	if id := <-changes; id != d.ID {
		t.Errorf("watchers hear of %q", id)
	}
	r.StateChanged("nobody", store.Active) // Who is not connected hears nothing.
}
