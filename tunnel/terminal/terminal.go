// Package terminal keeps the engine's end of shells on devices, for any number of viewers.
package terminal

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"borealis/tunnel/keys"
)

// Errors that callers tell apart.
var (
	ErrClosed  = errors.New("terminal is closed")                                 // by Close, or because the shell has ended
	ErrLost    = errors.New("connection to the device was lost")                  // before the shell ended
	ErrFull    = errors.New("device has no room for another terminal")            // Open: too many sessions there
	ErrHostKey = errors.New("device did not prove the identity it enrolled with") // Open: another key than Config.HostKey
	ErrOverrun = errors.New("viewer fell too far behind")                         // Next: view again from the offset reached
)

// Config describes a terminal to open. Conn, HostKey and ClientKey are required.
type Config struct {
	Conn      net.Conn            // to the shell server of the device; Open takes it over, also when it fails
	HostKey   keys.Pin            // pin of the device's identity, which is its SSH host key
	ClientKey ed25519.PrivateKey  // the tunnel's key for shells
	Cols      int                 // width in characters; 0 is 80
	Rows      int                 // height in characters; 0 is 24
	Shell     string              // "" for the device's own, or a wire.Shell name; a device without it says so on the terminal
	Env       map[string]string   // for the shell: BOREALIS_*, TERM and LANG; the device drops others
	Ring      int                 // bytes of output kept for viewers that come or come back; 0 is 1 MiB
	Echo      func(time.Duration) // told how long the device took to answer a key, a key at a time; must not wait; nil: nobody is
	Logger    *slog.Logger        // nil is silent
}

// Terminal is a shell on a device. It lives until the shell ends, the connection is lost or Close is
// called; what it wrote last stays readable after that. All methods may be called concurrently.
type Terminal struct {
	id      string
	conn    ssh.Conn
	channel ssh.Channel
	trip    time.Duration // to the device and back, measured while opening
	log     *slog.Logger
	echo    echo
	typing  chan struct{} // held by the Write under way
	moved   chan struct{} // the credit may have changed
	done    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	ring    ring
	viewers map[*Viewer]struct{}
	cols    int
	rows    int
	closed  bool  // Close was called
	why     error // that CloseFor was told
	ended   bool  // status and err are final
	status  int
	err     error
}

// Open signs in to the device, which must prove HostKey, and starts a shell on a new terminal. ctx
// bounds the opening only. The caller must Close the terminal, also when its shell has ended.
func Open(ctx context.Context, c Config) (*Terminal, error) {
	conn, channels, globals, err := signIn(ctx, c)
	if err != nil {
		return nil, err
	}
	t := &Terminal{
		id:      rand.Text(),
		conn:    conn,
		log:     c.Logger,
		echo:    echo{tell: c.Echo, since: time.Now()},
		typing:  make(chan struct{}, 1),
		moved:   make(chan struct{}, 1),
		done:    make(chan struct{}),
		ring:    newRing(c.Ring),
		viewers: make(map[*Viewer]struct{}),
		status:  -1,
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.cols, t.rows = clampSize(c.Cols, c.Rows)
	t.running.Go(func() { ssh.DiscardRequests(globals) })
	t.running.Go(func() { refuse(channels) })
	requests, err := t.start(ctx, c)
	if err != nil {
		conn.Close()
		t.running.Wait()
		_ = conn.Wait() // ends as it was told to
		return nil, err
	}
	t.running.Go(func() { t.attend(requests) })
	t.running.Go(t.govern)
	return t, nil
}

// ID names the terminal; it cannot be guessed.
func (t *Terminal) ID() string { return t.id }

// Done is closed when the shell has ended or its connection is gone, and all its output is in the ring.
func (t *Terminal) Done() <-chan struct{} { return t.done }

// Exit returns how the shell ended, once Done is closed: its exit status; or a status and a
// [RefusedError]; or -1 and a [SignalError], ErrClosed or ErrLost.
func (t *Terminal) Exit() (status int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		return -1, errors.New("shell is still running")
	}
	return t.status, t.err
}

// Close ends the shell and everything it started, and returns when nothing of the terminal runs here
// any more. Viewers get the rest of the output and then io.EOF. Closing again does nothing.
func (t *Terminal) Close() error {
	t.CloseFor(nil)
	return nil
}

// CloseFor is Close with a reason, which Exit returns along with ErrClosed. The first one counts.
func (t *Terminal) CloseFor(why error) {
	t.mu.Lock()
	if !t.closed {
		t.closed, t.why = true, why
	}
	t.mu.Unlock()
	t.conn.Close()
	t.running.Wait()
}

// Write types p into the shell. It waits while the device does not take it, and for other writers.
// Once the shell has ended it returns ErrClosed.
func (t *Terminal) Write(p []byte) (int, error) {
	t.echo.ask()
	select {
	case <-t.done:
		return 0, ErrClosed
	case t.typing <- struct{}{}:
	}
	defer func() { <-t.typing }()
	n, err := t.channel.Write(p)
	if errors.Is(err, io.EOF) { // SSH's word for a closed channel
		return n, ErrClosed
	}
	if err != nil {
		return n, fmt.Errorf("type into terminal: %w", err)
	}
	return n, nil
}

// Resize gives the shell's terminal a new size, between 1 and 1000 characters each way.
func (t *Terminal) Resize(cols, rows int) error {
	cols, rows = clampSize(cols, rows)
	t.mu.Lock()
	t.cols, t.rows = cols, rows
	t.mu.Unlock()
	if _, err := t.channel.SendRequest("window-change", false, ssh.Marshal(windowSize(cols, rows))); err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}

// Size returns the size last set.
func (t *Terminal) Size() (cols, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cols, t.rows
}

// Viewers returns how many viewers are attached.
func (t *Terminal) Viewers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.viewers)
}

// SignalError is how a shell ended that a signal killed.
type SignalError struct{ Signal string } // without SIG: "KILL"

// Error names the signal.
func (e *SignalError) Error() string { return "shell was killed by signal " + e.Signal }

// RefusedError is why a device started no shell.
type RefusedError struct{ Why string } // a sentence of the device, without a full stop; not trusted

// Error says why.
func (e *RefusedError) Error() string { return "device started no shell: " + e.Why }

// clampSize makes a size that programs can live with.
func clampSize(cols, rows int) (int, int) {
	if cols <= 0 || rows <= 0 {
		return 80, 24
	}
	return min(cols, 1000), min(rows, 1000)
}
