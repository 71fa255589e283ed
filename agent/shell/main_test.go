package shell

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) {
	if part := os.Getenv(childVariable); part != "" {
		os.Exit(child(part))
	}
	if len(os.Args) == 2 && os.Args[1] == HostCommand {
		os.Exit(Host(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}

// childVariable has the test program play a part instead, as a child of a test.
const childVariable = "BOREALIS_TEST_CHILD"

// patient bounds every wait in these tests for something new; reaching it is a failure.
const patient = 30 * time.Second

// device is a running server and the keys that fit it.
type device struct {
	addr   string
	host   ed25519.PublicKey
	client ed25519.PrivateKey
	stop   func() // ends Serve and waits for it
}

// newDevice serves shells on the loopback until the test is over.
func newDevice(t testing.TB, c Config) *device {
	t.Helper()
	host, hostKey := newKey(t)
	client, clientKey := newKey(t)
	c.HostKey, c.Client = hostKey, client
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, c) }()
	d := &device{addr: l.Addr().String(), host: host, client: clientKey}
	d.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patient):
			t.Error("Serve does not return")
		}
	})
	t.Cleanup(d.stop)
	return d
}

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// dial signs in, and hangs up after the test.
func (d *device) dial(t testing.TB) *ssh.Client {
	t.Helper()
	c, err := d.dialAs(User, d.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialAs tries to sign in.
func (d *device) dialAs(user string, key ed25519.PrivateKey) (*ssh.Client, error) {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	host, err := ssh.NewPublicKey(d.host)
	if err != nil {
		return nil, err
	}
	return ssh.Dial("tcp", d.addr, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(host),
		Timeout:         patient,
	})
}

// console is a session as a test sees it.
type console struct {
	*ssh.Session
	in io.Writer

	grown chan struct{}
	mu    sync.Mutex
	out   strings.Builder
	ended bool
}

// open makes a session that has not been started.
func open(t testing.TB, c *ssh.Client) *console {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	k := &console{Session: s, grown: make(chan struct{}, 1)}
	if k.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	go k.read(out)
	return k
}

func (k *console) read(out io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := out.Read(buf)
		k.mu.Lock()
		k.out.Write(buf[:n])
		k.ended = err != nil
		k.mu.Unlock()
		wake(k.grown)
		if err != nil {
			return
		}
	}
}

// output returns what has come so far.
func (k *console) output() (s string, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.out.String(), k.ended
}

// until waits for the output to be as wanted, and returns it.
func (k *console) until(t testing.TB, what string, wanted func(out string, ended bool) bool) string {
	t.Helper()
	late := time.NewTimer(patient)
	defer late.Stop()
	for {
		out, ended := k.output()
		if wanted(out, ended) {
			return out
		}
		if ended {
			t.Fatalf("output ended without %s: %q", what, tail(out))
		}
		select {
		case <-k.grown:
			late.Reset(patient)
		case <-late.C:
			t.Fatalf("no %s in time: %q", what, tail(out))
		}
	}
}

// expect waits until the output contains text.
func (k *console) expect(t testing.TB, text string) string {
	t.Helper()
	return k.until(t, text, func(out string, _ bool) bool { return strings.Contains(out, text) })
}

// end waits for the end of the output and returns it all, and how the program ended.
func (k *console) end(t testing.TB) (string, error) {
	t.Helper()
	out := k.until(t, "end", func(_ string, ended bool) bool { return ended })
	return out, k.Wait()
}

// typeln types a line.
func (k *console) typeln(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(k.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// shell starts an interactive shell that echoes nothing and prompts with "ready>".
func shell(t testing.TB, c *ssh.Client, cols, rows int) *console {
	t.Helper()
	k := open(t, c)
	if err := k.RequestPty("xterm-256color", rows, cols, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	k.typeln(t, `stty -echo; PS1='re''ady> '`)
	k.expect(t, "ready> ")
	return k
}

func tail(s string) string { return s[max(0, len(s)-300):] }

// watched is a process whose output is kept.
type watched struct {
	process
	console
	out sync.WaitGroup
}

// watch keeps a process's output.
func watch(p process) *watched {
	w := &watched{process: p}
	w.grown = make(chan struct{}, 1)
	w.out.Go(func() { w.console.read(p) })
	return w
}

// finish waits for the end and gives everything back.
func (w *watched) finish(t *testing.T) exit {
	t.Helper()
	how := w.process.Wait()
	w.out.Wait()
	if err := w.process.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return how
}
