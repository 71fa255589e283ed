package agent_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/wg"
)

// written waits until the status that an agent wrote down is as it should be.
func (d *device) written(t *testing.T, what string, is func(s agent.Status, running bool) bool) agent.Status {
	t.Helper()
	for begun := time.Now(); ; <-time.After(time.Millisecond) {
		s, running, err := agent.ReadStatus(d.data)
		if err == nil && is(s, running) {
			return s
		}
		if time.Since(begun) > patience {
			t.Fatalf("%s: status is %+v, running %v, %v", what, s, running, err)
		}
	}
}

func TestStatusIsWrittenDown(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if _, _, err := agent.ReadStatus(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first agent: %v", err)
	}
	e := newEngine(t)
	state := "pending"
	e.welcome = func(w *wire.Welcome) { w.State = state }
	d := newDevice(t, e)
	c := e.channel(t)
	s := d.written(t, "connected", func(s agent.Status, running bool) bool { return running && s.Connected && s.State == "pending" })
	if s.PID != os.Getpid() || s.Version != "test" || s.Engine != e.address || s.Since.IsZero() || s.Tunnel != "" || s.LastError != "" ||
		s.Link != string(wg.Netstack) || s.LinkReason == "" || s.At.Before(s.Since) {
		t.Errorf("status is %+v", s)
	}
	b, err := wire.FromEngine{State: &wire.State{State: "active"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ws.Write(t.Context(), websocket.MessageText, b); err != nil {
		t.Fatal(err)
	}
	d.written(t, "approved", func(s agent.Status, _ bool) bool { return s.State == "active" })
	e.stop()
	d.written(t, "without an engine", func(s agent.Status, running bool) bool { return running && !s.Connected && s.LastError != "" })
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s, running, err := agent.ReadStatus(d.data)
	if err != nil || running || s.Connected || s.Tunnel != "" {
		t.Errorf("after the end: %+v, running %v, %v", s, running, err)
	}
	path := filepath.Join(d.data, "Agent", "status.json")
	if err := os.WriteFile(path, []byte(`{"pid":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := agent.ReadStatus(d.data); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("damaged: %v", err)
	}
}

// TestStatusThatCannotBeWritten is said once, and changes nothing else.
func TestStatusThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.data, "Agent", "status.json")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	e.channel(t)
	d.log.expect(t, "msg=status_not_written", "status.json")
}

// TestStatusInJSON is the contract with scripts.
func TestStatusInJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b, err := json.Marshal(agent.Status{
		PID: 1, Version: "v", Connected: true, State: "active", Since: at, Engine: "e:1", Tunnel: "t", Up: true, LastError: "l",
		Link: "netstack", LinkReason: "r", Driver: "1.0", Adapter: "a", At: at,
	})
	const want = `{"pid":1,"version":"v","connected":true,"state":"active","since":"2026-03-01T12:00:00Z","engine":"e:1","tunnel":"t","up":true,` +
		`"last_error":"l","link":"netstack","link_reason":"r","driver":"1.0","adapter":"a","at":"2026-03-01T12:00:00Z"}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}
