//go:build linux

package agent_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// restart ends the engine and starts it again with what is on its disk.
func (e *engine) restart(t *testing.T) {
	t.Helper()
	e.stop()
	k, err := keys.OpenEngine(e.dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	e.keys = k
	e.serve(t, e.address)
}

// rotate rotates the engine's identity as of now and starts it again.
func (e *engine) rotate(t *testing.T) (old, fresh keys.Pin) {
	t.Helper()
	e.stop()
	old, fresh, err := keys.RotateIdentity(e.dir, box, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e.restart(t)
	return old, fresh
}

// endOverlap makes the last rotation older than the overlap and starts the engine again.
func (e *engine) endOverlap(t *testing.T) {
	t.Helper()
	e.stop()
	path := filepath.Join(e.dir, "rotation.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatal(err)
	}
	record["at"] = time.Now().Add(-keys.Overlap)
	if b, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	e.restart(t)
	if e.keys.Previous != nil {
		t.Fatal("the overlap goes on")
	}
}

// pins are those that the device has stored, the newest first.
func (d *device) pins(t *testing.T) []keys.Pin {
	t.Helper()
	k, err := keys.OpenAgent(vpnClient(d.data))
	if err != nil {
		t.Fatal(err)
	}
	if k.Next.IsZero() {
		return []keys.Pin{k.Engine}
	}
	return []keys.Pin{k.Next, k.Engine}
}

// expectPins fails the test when the device has stored others, or when the one that it
// shows to people is not the newest.
func (d *device) expectPins(t *testing.T, want ...keys.Pin) {
	t.Helper()
	got := d.pins(t)
	if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("the device has the pins %v, want %v", got, want)
	}
	if f, err := agent.ReadFingerprint(d.data); err != nil || f.Engine != want[0] {
		t.Errorf("the engine's fingerprint is %v, %v", f.Engine, err)
	}
}

// again runs the agent anew after something happened to the engine, so that the test
// need not wait for it to dial again.
func (d *device) again(t *testing.T, happens func(*testing.T)) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	happens(t)
	d.run(t)
}

// works brings a tunnel up on a channel, and takes it down again.
func (c *channel) works(t *testing.T, d *device, tunnel string) {
	t.Helper()
	c.up(t, c.offer(t, tunnel))
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: tunnel, Reason: "operator_left"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel="+tunnel)
}

func TestAgentSurvivesARotationOfTheIdentity(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	c.works(t, d, "before")
	old, fresh := e.rotate(t)
	if codeFor(e).Pin != fresh {
		t.Error("new codes carry the old pin")
	}

	c = e.channel(t) // It asks for the identity that it knows, and learns of the next.
	if c.identity.Pin() != old {
		t.Errorf("the agent is served %v", c.identity.Pin())
	}
	d.log.expect(t, "msg=engine_identity", "pin="+fresh.String())
	d.expectPins(t, fresh, old)
	c.works(t, d, "overlap")

	d.again(t, e.restart)
	c = e.channel(t) // It asks for the newest.
	if c.identity.Pin() != fresh {
		t.Errorf("the agent is served %v", c.identity.Pin())
	}
	c.works(t, d, "renewed")
	d.expectPins(t, fresh)

	d.again(t, e.endOverlap)
	e.channel(t).works(t, d, "after")

	second, fresh2 := e.rotate(t) // And once more.
	c = e.channel(t)
	if second != fresh || c.identity.Pin() != fresh {
		t.Errorf("rotated from %v, the agent is served %v, want %v", second, c.identity.Pin(), fresh)
	}
	c.works(t, d, "second-overlap")
	d.expectPins(t, fresh2, fresh)
	d.again(t, e.endOverlap)
	c = e.channel(t)
	c.works(t, d, "second-after")
	d.expectPins(t, fresh2)
	if log := d.log.String(); strings.Contains(log, "identity_refused") || strings.Count(log, "msg=agent_enrolled") != 1 {
		t.Errorf("the log is\n%s", log)
	}
}

func TestAgentThatWasThereInTheOverlapMaySleepAfterIt(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	old, fresh := e.rotate(t)
	e.channel(t).works(t, d, "overlap")
	d.expectPins(t, fresh, old)
	d.again(t, e.endOverlap)
	e.channel(t).works(t, d, "after")
	d.expectPins(t, fresh)
}

func TestAgentThatSleptPastTheOverlapIsTold(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	old, fresh := e.rotate(t)
	e.endOverlap(t)
	d.run(t)
	d.log.expect(t, "msg=agent_unreachable", "the pin "+fresh.String(), "but "+old.String()+" is expected",
		"identity was rotated and this agent was away for the 30 days", "new enrolment code")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.expectPins(t, old)
	code := codeFor(e) // Which helps.
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String()}); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	e.channel(t).works(t, d, "again")
}

func TestCodeFromBeforeARotationStillEnrols(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	code := codeFor(e)
	old, fresh := e.rotate(t)
	d := &device{data: t.TempDir(), log: newJournal()}
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String()}); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	e.channel(t).works(t, d, "tunnel")
	d.expectPins(t, fresh, old)
}

func TestEngineFromAnOldBackupIsStillKnown(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := exec.CommandContext(t.Context(), "cp", "-a", e.dir, backup).Run(); err != nil {
		t.Fatal(err)
	}
	old, fresh := e.rotate(t)
	e.channel(t).works(t, d, "overlap")
	e.stop()
	e.dir = backup
	d.again(t, e.restart)
	c := e.channel(t)
	if c.identity.Pin() != old {
		t.Errorf("the agent is served %v", c.identity.Pin())
	}
	c.works(t, d, "restored")
	d.expectPins(t, fresh, old)

	// It rotates again, which makes a third identity.
	e.rotate(t)
	c = e.channel(t)
	d.log.expect(t, "msg=identity_refused", "third identity")
	c.works(t, d, "third")
	d.expectPins(t, fresh, old)
}

func TestForgedAnnouncementsAreRefused(t *testing.T) {
	t.Parallel()
	other := newEngine(t)
	other.rotate(t)
	replayed := *other.keys.Next(other.keys.Previous)
	const context = "borealis next identity v1"
	forge := map[string]func(c *channel) keys.NextIdentity{
		"replayed for another engine": func(*channel) keys.NextIdentity { return replayed },
		"signed by another": func(c *channel) keys.NextIdentity {
			pin := c.identity.Pin()
			msg := append(pin[:], replayed.Public...)
			return keys.NextIdentity{Public: replayed.Public, Signature: other.keys.Identity.Sign(context, msg)}
		},
		"another key under our signature": func(c *channel) keys.NextIdentity {
			pin := c.identity.Pin()
			return keys.NextIdentity{Public: replayed.Public, Signature: c.identity.Sign(context, append(pin[:], other.keys.Previous.Public()...))}
		},
		"not signed": func(*channel) keys.NextIdentity {
			return keys.NextIdentity{Public: replayed.Public, Signature: []byte{}}
		},
		"itself": func(c *channel) keys.NextIdentity {
			pin := c.identity.Pin()
			return keys.NextIdentity{Public: c.identity.Public(), Signature: c.identity.Sign(context, append(pin[:], c.identity.Public()...))}
		},
	}
	for name, next := range forge {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.welcome = func(w *wire.Welcome) {
				n := next(&channel{identity: e.keys.Identity})
				w.NextIdentity = &n
			}
			d := newDevice(t, e)
			d.log.expect(t, "msg=agent_unreachable", "next identity")
			if s := d.Status(); s.Connected || s.State != "" {
				t.Errorf("status is %+v", s)
			}
			d.expectPins(t, e.keys.Identity.Pin())
		})
	}
}

func TestAgentTakesNewTokenKeys(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	before := c.offer(t, "before")
	announced := make(chan wire.FromEngine, 1)
	err := e.keys.RotateToken(time.Now(), func() {
		announced <- wire.FromEngine{Keys: &wire.Keys{TokenKeys: e.keys.TokenKeys(c.identity)}}
	})
	if err != nil {
		t.Fatal(err)
	}
	after := c.offer(t, "after")
	c.send(t, wire.FromEngine{Start: &after.start})
	if m := c.next(t); m.Refused == nil || m.Refused.Reason != wire.TokenRejected {
		t.Fatalf("a token of a key that was not announced: %+v", m)
	}
	c.send(t, <-announced)
	d.log.expect(t, "msg=token_keys_changed")
	c.up(t, before) // Both hold.
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "before", Reason: "operator_left"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=before")
	c.up(t, after)
	c.send(t, c.policy(t, "after", 1, shellOnly()))
	c.applied(t, "after", 1)
	only := e.keys.TokenKeys(c.identity)[:1] // The key before has ended.
	c.send(t, wire.FromEngine{Keys: &wire.Keys{TokenKeys: only}})
	c.send(t, c.policy(t, "after", 2, shellOnly()))
	c.applied(t, "after", 2)
	if s := d.Status(); !s.Connected || s.Tunnel != "after" {
		t.Errorf("status is %+v", s)
	}
}

func TestForgedTokenKeysEndTheConnection(t *testing.T) {
	t.Parallel()
	stranger := newEngine(t)
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	mixed := append(e.keys.TokenKeys(c.identity), stranger.keys.TokenKeys(stranger.keys.Identity)...)
	c.send(t, wire.FromEngine{Keys: &wire.Keys{TokenKeys: mixed}})
	c.ended(t)
	d.log.expect(t, "msg=agent_disconnected", "not signed by the engine's identity key")
	e.channel(t).works(t, d, "again")
}

func TestAgentHearsThatItWasApproved(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.welcome = func(w *wire.Welcome) { w.State = "pending" }
	d := newDevice(t, e)
	c := e.channel(t)
	d.log.expect(t, "msg=agent_connected", "reason=pending")
	if s := d.Status(); s.State != "pending" {
		t.Errorf("status is %+v", s)
	}
	c.send(t, wire.FromEngine{State: &wire.State{State: "active"}})
	d.log.expect(t, "msg=device_state", "reason=active")
	if s := d.Status(); s.State != "active" || !s.Connected {
		t.Errorf("status is %+v", s)
	}
}

func TestHelloTellsTheMachineThatEnrolled(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	enrolled := make(chan string, 2)
	answer := e.enrol
	e.enrol = func(w http.ResponseWriter, r *http.Request, q wire.EnrolRequest) {
		enrolled <- q.Machine
		answer(w, r, q)
	}
	newDevice(t, e)
	first, said := <-enrolled, e.channel(t).hello.Machine
	if said != first {
		t.Errorf("enrolled as %q, connected as %q", first, said)
	}
	newDevice(t, e)
	if second := <-enrolled; first != "" && second == first {
		t.Error("two data roots are one machine")
	}
}

func TestWordsOfAFingerprint(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	data := t.TempDir()
	if _, err := agent.ReadFingerprint(data); err == nil {
		t.Error("there is a fingerprint before enrolment")
	}
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String()}); err != nil {
		t.Fatal(err)
	}
	f, err := agent.ReadFingerprint(data)
	if err != nil || f.Engine != e.keys.Identity.Pin() || f.Address != e.address {
		t.Errorf("%+v, %v", f, err)
	}
	id, err := keys.OpenAgentIdentity(vpnClient(data), "")
	if err != nil || f.Device != id.Pin() {
		t.Errorf("the device is %v, %v", f.Device, err)
	}
}
