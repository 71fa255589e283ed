package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent"
	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/tunnel/wg"
)

// A drill is an engine as a real program, which can be killed, and an agent in this process.
type drill struct {
	t      *testing.T
	dir    string
	bin    string // this program
	data   string // the engine's data root
	listen string
	admin  struct{ Operator, Password string }

	engine *exec.Cmd
	said   bytes.Buffer // by the engine that ran last; valid once it has ended
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &drill{t: t, dir: t.TempDir(), bin: self}
	d.data = filepath.Join(d.dir, "root")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.listen = l.Addr().String() // for engines one after the other, so that the agent finds them
	l.Close()
	if err := json.Unmarshal([]byte(must(t, "init", "--data", d.data, "--json")), &d.admin); err != nil {
		t.Fatal(err)
	}
	return d
}

// serve starts an engine and waits until it serves.
func (d *drill) serve() {
	d.t.Helper()
	d.said.Reset()
	c := exec.Command(d.bin, "serve", "--data", d.data, "--json", "--listen", d.listen, "--udp-port", "0", "--link", "netstack", "--log-level", "warn")
	c.Env = append(os.Environ(), doomedAs+"=engine")
	out, err := c.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	c.Stderr = &d.said
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.engine = c
	d.t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		d.t.Fatalf("serve: %v\n%s", err, d.said.String())
	}
}

// end ends the engine with a signal, or waits for its own end, and returns its exit code.
func (d *drill) end(signal os.Signal) int {
	d.t.Helper()
	if signal != nil {
		if err := d.engine.Process.Signal(signal); err != nil {
			d.t.Fatal(err)
		}
	}
	_ = d.engine.Wait() // the code says it all
	return d.engine.ProcessState.ExitCode()
}

// client is a client of the engine with a new API token of the administrator.
func (d *drill) client() *client {
	d.t.Helper()
	return newClient(d.t, "https://"+d.listen, strings.TrimSpace(must(d.t, "token", "new", "--operator", d.admin.Operator, "--data", d.data)))
}

// agent enrols an agent that runs until the test ends, and returns its device's id.
func (d *drill) agent() (device string) {
	d.t.Helper()
	data := filepath.Join(d.dir, "agent")
	code := strings.TrimSpace(must(d.t, "code", "new", "--data", d.data, "--auto-approve", "--engine", d.listen))
	enrolled, err := agent.Enrol(d.t.Context(), agent.EnrolConfig{Data: data, Code: code})
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := agent.Open(agent.Config{Data: data, Link: wg.Netstack, Version: "1.0.0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	})
	return enrolled.DeviceID
}

// untilOnline waits until the engine sees the client's device.
func (c *client) untilOnline(ctx context.Context) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var device struct{ Online bool }
		if code := c.do(ctx, http.MethodGet, "/api/devices/"+c.device, nil, &device); code == http.StatusOK && device.Online {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatal("the agent does not come back")
		}
	}
}

// TestRestoreDrill loses an engine in the middle of its work, and all that it had but the
// seal key and a backup that was made while it ran. A new data root serves the same people
// and the same agents, who do nothing for it.
func TestRestoreDrill(t *testing.T) {
	ctx := t.Context()
	d := newDrill(t)
	must(t, "operator", "add", "nora", "--role", "operator", "--data", d.data)
	d.serve()
	device := d.agent()
	c := d.client()
	c.device = device
	c.untilOnline(ctx)
	c.connect(ctx)
	c.untilUp(ctx)
	w := c.terminal(ctx, "", -1)
	w.typed(ctx, "echo be\"fore\"\r")
	w.expect(ctx, "before")

	identity := filepath.Join(d.dir, "identity.txt")
	recipient := strings.TrimSpace(must(t, "backup", "new-key", identity))
	folder := filepath.Join(d.dir, "backups")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var made backupDone
	if err := json.Unmarshal([]byte(must(t, "backup", folder, "--recipient", recipient, "--keep", "24/14/8", "--data", d.data, "--json")), &made); err != nil {
		t.Fatal(err)
	}
	w.typed(ctx, "echo af\"ter\"\r") // nobody noticed
	w.expect(ctx, "after")
	must(t, "operator", "add", "late", "--data", d.data)
	must(t, "operator", "lock", "nora", "--reason", "will be forgotten", "--data", d.data)
	d.end(syscall.SIGKILL)
	d.serve()
	d.end(syscall.SIGTERM) // which signs what the backup does not have

	lost := d.data
	begun := time.Now()
	d.data = filepath.Join(d.dir, "again")
	var back restoreDone
	if err := json.Unmarshal([]byte(must(t, "restore", made.File, "--identity", identity, "--data", d.data, "--json")), &back); err != nil {
		t.Fatal(err)
	}
	if back.SealKey != d.data+".key" || back.SHA256 != made.SHA256 || back.Seq != made.Seq || back.Engine != made.Engine {
		t.Errorf("restored %+v of %+v", back, made)
	}
	if code, _, text := call(t, "serve", "--data", d.data, "--listen", d.listen, "--link", "netstack", "--udp-port", "0"); code != exitFailed || !strings.Contains(text, d.data+".key") {
		t.Errorf("without the seal key: exit %d, %q", code, text)
	}
	key, err := os.ReadFile(lost + ".key")
	if err != nil {
		t.Fatal(err)
	}
	write(t, d.data+".key", key, 0o600)
	d.serve()
	c = d.client()
	c.device = device
	c.untilOnline(ctx)
	t.Logf("the agent is back %v after the restore began", time.Since(begun))
	if st := c.status(ctx); st.State != "ended" || st.Reason != "engine_restart" {
		t.Errorf("the tunnel of before: %+v", st)
	}
	c.connect(ctx)
	c.untilUp(ctx)
	w = c.terminal(ctx, "", -1)
	w.typed(ctx, "echo a\"gain\"\r")
	w.expect(ctx, "again")
	newClient(t, c.base, "").signIn(ctx, d.admin.Operator, d.admin.Password)
	people := must(t, "operator", "list", "--data", d.data)
	if !strings.Contains(people, "nora") || strings.Contains(people, "late") {
		t.Errorf("operators:\n%s", people)
	}
	if code := d.end(syscall.SIGTERM); code != exitDone {
		t.Errorf("the engine ended with %d: %s", code, d.said.String())
	}

	if said := must(t, "audit", "verify", "--data", d.data); !strings.Contains(said, "as they were written") {
		t.Errorf("audit verify: %s", said)
	}
	if trail := must(t, "audit", "export", "--data", d.data); strings.Count(trail, `"kind":"restored"`) != 1 || !strings.Contains(trail, made.SHA256) {
		t.Errorf("the trail does not tell of the restore:\n%s", trail)
	}
	code, said, _ := call(t, "audit", "verify", "--data", d.data, "--checkpoints", engine.Root(lost).Checkpoints())
	if code != exitFailed || !strings.Contains(said, "restored from a backup") {
		t.Errorf("with the checkpoints of the lost engine: exit %d, %s", code, said)
	}
}

// TestOneEngineOnOneDataRoot: neither a second engine nor a restore comes between, and a
// killed engine is in nobody's way.
func TestOneEngineOnOneDataRoot(t *testing.T) {
	d := newDrill(t)
	identity, file := filepath.Join(d.dir, "identity.txt"), filepath.Join(d.dir, "one.age")
	recipient := strings.TrimSpace(must(t, "backup", "new-key", identity))
	must(t, "backup", file, "--recipient", recipient, "--data", d.data)
	d.serve()
	for _, args := range [][]string{
		{"serve", "--data", d.data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack"},
		{"demo", "--data", d.data, "--listen", "127.0.0.1:0", "--udp-port", "0"},
		{"restore", file, "--identity", identity, "--data", d.data, "--replace"},
	} {
		code, _, text := call(t, args...)
		if code != exitFailed || !strings.Contains(text, "works on "+d.data+" already as process "+strconv.Itoa(d.engine.Process.Pid)) || !strings.Contains(text, "hint: stop it first") {
			t.Errorf("%s beside an engine: exit %d, %q", args[0], code, text)
		}
	}
	newClient(t, "https://"+d.listen, "").signIn(t.Context(), d.admin.Operator, d.admin.Password) // as before
	d.end(syscall.SIGKILL)
	d.serve()
	d.end(syscall.SIGKILL)
	must(t, "restore", file, "--identity", identity, "--data", d.data, "--replace")
	d.serve()
	if code := d.end(syscall.SIGTERM); code != exitDone {
		t.Errorf("the engine ended with %d: %s", code, d.said.String())
	}
}

// serving runs an engine in this process until stop is called.
func serving(t *testing.T, data string) (r ready, stop func() (code int, text string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var text bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack"}, in, &text)
		in.Close()
	}()
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		cancel()
		t.Fatalf("serve: %v, exit %d: %s", err, <-done, text.String())
	}
	return r, func() (int, string) {
		cancel()
		return <-done, text.String()
	}
}

// recorded is what of a kind is on record in a data root.
func recorded(t *testing.T, data, kind string) (found []store.Record) {
	t.Helper()
	err := engine.Root(data).With(t.Context(), func(s *store.Store) error {
		return s.EachRecord(t.Context(), 0, func(r store.Record) error {
			if r.Kind == kind {
				found = append(found, r)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
