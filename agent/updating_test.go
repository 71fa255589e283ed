package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/release"
	"borealis/agent/update"
	"borealis/agent/wire"
)

// actWatcher is what the test's program does when it is started as a watcher: it says that
// it watches, and is killed at once. What a watcher does is tested where it is.
func actWatcher() int {
	if _, err := os.Stat(os.Args[5] + ".broken"); err == nil {
		return 1
	}
	fmt.Println("watching")
	return 0
}

// Who publishes the agents of these tests, and who does not.
var (
	publisherKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("p", ed25519.SeedSize)))
	strangerKey  = ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
)

// newProgram is what the engine has as version 2.
const newProgram = "the new program"

// signed is a manifest of version 2 for this device, as a test changes it.
func signed(t *testing.T, key ed25519.PrivateKey, change ...func(*release.Manifest)) string {
	t.Helper()
	sum := sha256.Sum256([]byte(newProgram))
	m := release.Manifest{
		Version: "v2", Sequence: 2, Released: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Files: []release.File{{
			OS: runtime.GOOS, Arch: runtime.GOARCH, Name: "agent", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(newProgram)),
		}},
	}
	for _, f := range change {
		f(&m)
	}
	s, err := release.Sign(m, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An installed device's agent is started by a service manager from a program of its own.
type installed struct {
	*device
	exe string
	end chan error // What Run returned.
}

// install enrols a device that is not running yet.
func install(t *testing.T, e *engine) *installed {
	t.Helper()
	d := &installed{device: &device{data: t.TempDir(), log: newJournal()}, exe: filepath.Join(t.TempDir(), "agent.exe")}
	code := wire.Code{Address: e.address, Pin: e.keys.Identity.Pin(), Secret: wire.NewSecret()}
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String(), Logger: slog.New(d.log)}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // A program that a child has open for writing does not start.
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(d.exe, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// serve runs the device's agent as one of a release. An empty exe is no service.
func (d *installed) serve(t *testing.T, exe string, sequence int64, publisher ed25519.PublicKey) (stop func()) {
	t.Helper()
	c := agent.Config{Data: d.data, Version: fmt.Sprintf("v%d", sequence), Shell: "/bin/sh", Logger: slog.New(d.log), Exe: exe}
	a, err := agent.OpenRelease(c, sequence, publisher)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	d.end = make(chan error, 1)
	go func() {
		d.end <- a.Run(ctx)
		close(ended)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// start runs the release 1, and returns its channel.
func (d *installed) start(t *testing.T, e *engine) *channel {
	t.Helper()
	d.serve(t, d.exe, 1, publisherKey.Public().(ed25519.PublicKey))
	return e.channel(t)
}

// updated waits for the agent's next news of an update.
func (c *channel) updated(t *testing.T) wire.Updated {
	t.Helper()
	m := c.next(t)
	if m.Updated == nil {
		t.Fatalf("the agent says %+v", m)
	}
	return *m.Updated
}

// untouched checks that the device has its program and nothing of an update.
func (d *installed) untouched(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(d.exe))
	if err != nil || len(entries) != 1 || entries[0].Name() != "agent.exe" {
		t.Errorf("beside the program is %v, %v", entries, err)
	}
	if _, err := (update.Place{Exe: d.exe, Data: d.data}).Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state is there: %v", err)
	}
}

// serving is an engine that has version 2.
func serving(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(newProgram))
	if r.URL.Path != wire.PathFile+hex.EncodeToString(sum[:]) {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, newProgram)
}

// TestUpdate carries an update out, up to its end at the engine.
func TestUpdate(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.files = serving
	d := install(t, e)
	c := d.start(t, e)
	c.send(t, wire.FromEngine{Update: &wire.Update{Manifest: signed(t, publisherKey)}})
	if got := c.updated(t); got != (wire.Updated{Version: "v2", Outcome: wire.UpdateStarted}) {
		t.Errorf("the agent says %+v", got)
	}
	if err := c.ended(t); err == nil {
		t.Error("the channel does not end")
	}
	if err := <-d.end; !errors.Is(err, agent.ErrRestart) {
		t.Fatalf("the agent ends with %v", err)
	}
	if b, err := os.ReadFile(d.exe); err != nil || string(b) != newProgram {
		t.Errorf("in place is %.20q, %v", b, err)
	}
	p := update.Place{Exe: d.exe, Data: d.data}
	want := update.State{From: "v1", To: "v2", Sequence: 2, Phase: update.Pending, Watches: 1}
	if s, err := p.Read(); err != nil || s != want {
		t.Errorf("the state is %+v, %v", s, err)
	}

	// The service manager starts the new program. Nobody watches it: it sees to that itself.
	stop := d.serve(t, d.exe, 2, publisherKey.Public().(ed25519.PublicKey))
	if got := e.channel(t).updated(t); got != (wire.Updated{Version: "v2", Outcome: wire.UpdateDone}) {
		t.Errorf("the new agent says %+v", got)
	}
	want.Phase, want.Watches = update.Confirmed, 2
	if s, err := p.Read(); err != nil || s != want {
		t.Errorf("the state is %+v, %v", s, err)
	}
	stop()

	// From then on it is as if nothing had been.
	stop = d.serve(t, d.exe, 2, publisherKey.Public().(ed25519.PublicKey))
	c = e.channel(t)
	d.untouched(t)
	stop()
	c.ended(t)
	if len(c.said) > 0 {
		t.Errorf("the agent says %+v", <-c.said)
	}
}

// TestUpdateIsWatched when the new program cannot even be opened, and nobody watches it.
func TestUpdateIsWatched(t *testing.T) {
	t.Parallel()
	d := install(t, newEngine(t))
	self, err := os.ReadFile(d.exe)
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock()
	err = os.WriteFile(d.exe+".old", self, 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	d.state(t, update.State{From: "v1", To: "v2", Sequence: 2, Phase: update.Pending, Watches: 1})
	c := agent.Config{Data: d.data, Link: "nonsense", Logger: slog.New(d.log), Exe: d.exe}
	if _, err := agent.OpenRelease(c, 2, nil); err == nil {
		t.Fatal("it opens")
	}
	if s, err := (update.Place{Exe: d.exe, Data: d.data}).Read(); err != nil || s.Watches != 2 {
		t.Errorf("the state is %+v, %v", s, err)
	}
	if log := d.log.String(); strings.Contains(log, "update_not_resumed") {
		t.Errorf("no watcher was started: %s", log)
	}
}

// state writes how far an update is.
func (d *installed) state(t *testing.T, s update.State) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.data, "Agent", "update.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRolledBack tells the engine once of an update that was taken back.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := install(t, e)
	d.state(t, update.State{From: "v1", To: "v2", Sequence: 2, Phase: update.RolledBack, Reason: "It was mute."})
	c := d.start(t, e)
	if got := c.updated(t); got != (wire.Updated{Version: "v2", Outcome: wire.UpdateRolledBack, Detail: "It was mute."}) {
		t.Errorf("the agent says %+v", got)
	}
	d.untouched(t)
	c.ws.CloseNow()
	c = e.channel(t)
	c.send(t, wire.FromEngine{Update: &wire.Update{Manifest: "x"}}) // The next that it says is about this.
	if got := c.updated(t); got.Outcome != wire.UpdateRefused {
		t.Errorf("the agent says %+v", got)
	}
}

// TestUpdateRefused has offers that are not taken: nothing is fetched.
func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	publisher := publisherKey.Public().(ed25519.PublicKey)
	e := newEngine(t)
	e.files = func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the agent asks for %s", r.URL.Path) }
	for name, c := range map[string]struct {
		manifest  string
		exe       bool
		publisher ed25519.PublicKey
		policy    string
		version   string
		detail    string
	}{
		"no publisher": {signed(t, publisherKey), true, nil, "", "", "This build of the agent takes no updates"},
		"no service":   {signed(t, publisherKey), false, publisher, "", "", "does not run as a service of Windows"},
		"a stranger's": {signed(t, strangerKey), true, publisher, "", "", "the release is not signed by the publisher of this program"},
		"nonsense":     {"nonsense", true, publisher, "", "", "not a release manifest"},
		"the same": {
			signed(t, publisherKey, func(m *release.Manifest) { m.Sequence = 1 }), true, publisher, "", "v2",
			"Version v2 is not newer than v1, which runs.",
		},
		"another computer's": {
			signed(t, publisherKey, func(m *release.Manifest) { m.Files[0].Arch = "sparc" }), true, publisher, "", "v2",
			"Version v2 has no program for " + runtime.GOOS + " on " + runtime.GOARCH,
		},
		"the device's owner": {signed(t, publisherKey), true, publisher, `{"no_updates": true}`, "v2", "The device's own policy takes no updates from the engine."},
	} {
		d := install(t, e)
		if c.policy != "" {
			if err := os.WriteFile(agent.PolicyFile(d.data), []byte(c.policy), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		exe := d.exe
		if !c.exe {
			exe = ""
		}
		stop := d.serve(t, exe, 1, c.publisher)
		ch := e.channel(t)
		ch.send(t, wire.FromEngine{Update: &wire.Update{Manifest: c.manifest}})
		if got := ch.updated(t); got.Outcome != wire.UpdateRefused || got.Version != c.version || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: the agent says %+v", name, got)
		}
		d.untouched(t)
		stop()
		if err := <-d.end; err != nil {
			t.Errorf("%s: it ends with %v", name, err)
		}
	}
}

// TestUpdateFails has engines and devices on which an update does not come about: the agent
// stays, as it was.
func TestUpdateFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files  http.HandlerFunc
		spoil  func(*testing.T, *installed)
		detail string
	}{
		"the engine has it not": {http.NotFound, nil, "the engine refused (404)"},
		"a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"Too many devices ask.","hint":"Try later."}`)
		}, nil, "the engine refused (503): Too many devices ask. Try later."},
		"another file":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the new Program") }, nil, "not the one that was asked for"},
		"a part of it":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, newProgram[:5]) }, nil, "not the one that was asked for"},
		"more than that": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, newProgram, "!") }, nil, "not the one that was asked for"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, newProgram[:5])
		}, nil, "Fetch a file from the engine: unexpected EOF"},
		"the watcher does not start": {serving, func(t *testing.T, d *installed) {
			if err := os.WriteFile(d.exe+".broken", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(d.exe + ".broken") })
		}, "Start the watcher"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.files = c.files
			d := install(t, e)
			ch := d.start(t, e) // It tidies up, so only then is something spoilt.
			if c.spoil != nil {
				c.spoil(t, d)
			}
			ch.send(t, wire.FromEngine{Update: &wire.Update{Manifest: signed(t, publisherKey)}})
			if got := ch.updated(t); got.Outcome != wire.UpdateFailed || got.Version != "v2" || !strings.Contains(got.Detail, c.detail) {
				t.Errorf("the agent says %+v", got)
			}
			os.Remove(d.exe + ".broken")
			d.untouched(t)
		})
	}
}

// TestUpdatesOneAtATime offers one while another is under way, and loses the channel before
// the agent can say that the first failed.
func TestUpdatesOneAtATime(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	e.files = func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		http.NotFound(w, r)
	}
	let := func() { close(answer) }
	d := install(t, e)
	c := d.start(t, e)
	c.send(t, wire.FromEngine{Update: &wire.Update{Manifest: signed(t, publisherKey)}})
	<-asked
	c.send(t, wire.FromEngine{Update: &wire.Update{Manifest: signed(t, publisherKey)}})
	if got := c.updated(t); got != (wire.Updated{Outcome: wire.UpdateRefused, Detail: "Another update is under way."}) {
		t.Errorf("to the second offer the agent says %+v", got)
	}
	e.welcome = func(*wire.Welcome) { // Between two channels.
		if let != nil {
			let()
			let = nil
			d.log.expect(t, "msg=agent_update", "reason=failed")
		}
	}
	c.ws.CloseNow()
	if got := e.channel(t).updated(t); got.Outcome != wire.UpdateFailed || !strings.Contains(got.Detail, "404") {
		t.Errorf("when it is back the agent says %+v", got)
	}
}

// TestUpdateCutOff stops the agent while it fetches: it ends at once, and nothing is left.
func TestUpdateCutOff(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	asked := make(chan struct{})
	e.files = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, newProgram[:5])
		_ = http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
	}
	d := install(t, e)
	stop := d.serve(t, d.exe, 1, publisherKey.Public().(ed25519.PublicKey))
	c := e.channel(t)
	c.send(t, wire.FromEngine{Update: &wire.Update{Manifest: signed(t, publisherKey)}})
	<-asked
	stop()
	if err := <-d.end; err != nil {
		t.Errorf("it ends with %v", err)
	}
	d.untouched(t)
}
