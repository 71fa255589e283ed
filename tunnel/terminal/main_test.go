package terminal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"borealis/agent/shell"
	"borealis/tunnel/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient bounds every wait in these tests; reaching it is a failure.
const patient = 60 * time.Second

// device serves real shells on the loopback.
type device struct {
	addr   string
	pin    keys.Pin
	client ed25519.PrivateKey
	stop   func()
}

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func newDevice(t testing.TB) *device {
	t.Helper()
	host, hostKey := newKey(t)
	client, clientKey := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- shell.Serve(ctx, l, shell.Config{HostKey: hostKey, Client: client, Shell: "/bin/sh"})
	}()
	d := &device{addr: l.Addr().String(), pin: keys.PinOf(host), client: clientKey}
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve shells: %v", err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

// config is what opens a terminal on the device.
func (d *device) config(t testing.TB) Config {
	t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Conn: conn, HostKey: d.pin, ClientKey: d.client}
}

// open opens a terminal and closes it after the test.
func open(t testing.TB, c Config) *Terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	term, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return term
}

// reader is a viewer that keeps all it saw, and acknowledges it at once.
type reader struct {
	t    testing.TB
	term *Terminal
	*Viewer
	out []byte
	at  int64 // offset after the last byte of out
}

// watch attaches a reader.
func watch(t testing.TB, term *Terminal, offset int64) *reader {
	t.Helper()
	v := term.View(offset)
	t.Cleanup(v.Close)
	start, _ := v.Start()
	return &reader{t: t, term: term, Viewer: v, at: start}
}

// more reads once, and returns io.EOF at the end.
func (r *reader) more() error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	data, offset, err := r.Next(ctx)
	if err != nil {
		return err
	}
	if offset != r.at {
		r.t.Fatalf("bytes of offset %d where %d was due", offset, r.at)
	}
	r.out = append(r.out, data...)
	r.at += int64(len(data))
	r.Ack(r.at)
	return nil
}

// expect reads until text has come since the last expect, and forgets what was before its end.
func (r *reader) expect(text string) string {
	r.t.Helper()
	for {
		if i := bytes.Index(r.out, []byte(text)); i >= 0 {
			before := string(r.out[:i])
			r.out = r.out[i+len(text):]
			return before
		}
		if err := r.more(); err != nil {
			r.t.Fatalf("waiting for %q: %v after %q", text, err, r.out[max(0, len(r.out)-200):])
		}
	}
}

// typeln types a line.
func (r *reader) typeln(line string) {
	r.t.Helper()
	if _, err := r.term.Write([]byte(line + "\n")); err != nil {
		r.t.Fatal(err)
	}
}

// quiet attaches a reader, and has the shell echo nothing, leave bytes as they are, and prompt with
// "ready> ". What follows the prompt is output alone.
func quiet(t testing.TB, term *Terminal) *reader {
	t.Helper()
	r := watch(t, term, -1)
	r.typeln(`stty -echo -opost; PS1='re''ady> '`)
	r.expect("ready> ")
	return r
}

// stream makes a file of numbered lines, 16 bytes each, and returns its bytes.
func stream(t testing.TB, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 0, size)
	for i := range size / 16 {
		content = fmt.Appendf(content, "%015x\n", i)
	}
	path = filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// waitDone waits until the shell has ended.
func waitDone(t testing.TB, term *Terminal) {
	t.Helper()
	select {
	case <-term.Done():
	case <-time.After(patient):
		t.Fatal("terminal is not done in time")
	}
}
