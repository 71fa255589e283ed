package audit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"borealis/store"
)

// MaxBehind is how many records a [Forwarder] is behind at most, about 256 MiB of
// messages. The records before those are left out, which the log server is told.
const MaxBehind = 500_000

// The rhythm of a forwarder.
const (
	forwardBatch = 256              // records that are read and sent at a time
	sendPiece    = 8 << 10          // bytes
	dialTimeout  = 10 * time.Second // for a connection and its handshake
	sendTimeout  = 30 * time.Second // for a piece of a batch, and for what was sent to arrive
	firstPause   = time.Second      // after a connection that failed
	longestPause = time.Minute      // the same, when it goes on failing
	drainTimeout = 2 * time.Second  // for the last records when the engine stops
	// settleTime is how long after it was sent a record counts as delivered, when the
	// connection lives still. Longer than sendTimeout, after which the system gives a
	// silent connection up.
	settleTime = time.Minute
)

// ForwarderConfig is what a [Forwarder] needs.
type ForwarderConfig struct {
	Store *store.Store
	// Address is the HOST:PORT of a log server that takes RFC 5424 messages over TLS as
	// RFC 5425 describes it; the registered port is 6514.
	Address string
	// TLS says how the server is recognised: see [SyslogTLS].
	TLS *tls.Config
	// Cursor is the file that remembers how far the server has got. Losing it sends
	// everything again.
	Cursor string
	// Host is the name of this engine in the messages; empty: the host's.
	Host string
	// Logger gets what goes wrong. Nil is silent.
	Logger *slog.Logger
}

// A Forwarder sends the trail to a log server, in order, each record at least once.
//
// The database is its queue: it reads what comes after its cursor, so that a server
// that is slow or away costs neither memory nor disk, and nobody who writes a record
// ever waits for it. The protocol has no acknowledgements. A record therefore counts
// as delivered once its connection has outlived it by a minute, or was closed in
// good order; what was sent later than that is sent again on the next connection.
// Every message has the record's number, by which copies are known.
type Forwarder struct {
	config ForwarderConfig
	behind int64         // MaxBehind, but in tests
	settle time.Duration // settleTime, but in tests
	pause  time.Duration // firstPause, but in tests
	wake   chan struct{}
	gap    int64 // the first record of the newest gap that is on record

	mu         sync.Mutex
	checkpoint store.Checkpoint // the newest
}

// NewForwarder returns a forwarder that works while [Forwarder.Run] does.
func NewForwarder(c ForwarderConfig) (*Forwarder, error) {
	if c.Store == nil || c.TLS == nil || c.Cursor == "" {
		return nil, errors.New("forwarding to a log server needs a store, TLS and a file for the cursor")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return nil, fmt.Errorf("address of the log server: %w; write it as HOST:6514", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Host == "" {
		c.Host, _ = os.Hostname() // "-" stands for none
	}
	return &Forwarder{config: c, behind: MaxBehind, settle: settleTime, pause: firstPause, wake: make(chan struct{}, 1)}, nil
}

// Checkpoint has the checkpoint sent, once the records that it covers are. It does
// not wait, and may be called concurrently: it is meant for [Config].Notify.
func (f *Forwarder) Checkpoint(c store.Checkpoint) {
	f.mu.Lock()
	if c.Seq > f.checkpoint.Seq {
		f.checkpoint = c
	}
	f.mu.Unlock()
	f.nudge()
}

func (f *Forwarder) nudge() {
	select {
	case f.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// Run forwards until ctx ends; then it sends what is left, for two seconds at most,
// and returns nil. A server that does not answer is logged and tried again. An error
// means that the database cannot be watched.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer stop(nil)
	watcher.Go(func() {
		if err := f.config.Store.Changes(ctx, changePoll, f.nudge); err != nil && ctx.Err() == nil {
			stop(&watchError{err})
		}
	})
	seq := f.begin(ctx)
	pause := f.pause
	for {
		began := seq
		var err error
		seq, err = f.connection(ctx, seq)
		if ctx.Err() == nil {
			f.config.Logger.WarnContext(ctx, "syslog_lost", "addr", f.config.Address, "err", err)
		}
		if seq > began {
			pause = f.pause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if broken, ok := errors.AsType[*watchError](context.Cause(ctx)); ok {
				return broken
			}
			return nil
		}
		pause = min(2*pause, longestPause)
	}
}

// begin is where to go on: the record that the cursor names, or the beginning when
// the trail does not reach that far, because it is another one.
func (f *Forwarder) begin(ctx context.Context) int64 {
	seq, err := readCursor(f.config.Cursor)
	if err != nil {
		f.config.Logger.WarnContext(ctx, "syslog_cursor_lost", "err", err)
	}
	if head, _, err := f.config.Store.Head(ctx); err == nil && seq > head {
		f.config.Logger.WarnContext(ctx, "syslog_cursor_lost", "reason", "the audit trail is shorter than what was sent")
		seq = 0
	}
	if all, err := f.config.Store.Checkpoints(ctx); err == nil && len(all) > 0 {
		f.Checkpoint(all[len(all)-1])
	}
	return seq
}

// connection makes a connection and sends over it until it breaks or ctx ends. It
// returns the last record that counts as delivered, and why the connection ended.
func (f *Forwarder) connection(ctx context.Context, seq int64) (int64, error) {
	conn, err := f.dial(ctx)
	if err != nil {
		return seq, err
	}
	l := &link{Forwarder: f, conn: conn, sent: seq, settled: seq, broken: make(chan error, 1)}
	var listener sync.WaitGroup
	listener.Go(func() { l.broken <- l.listen() })
	err = l.work(ctx)
	if errors.Is(err, context.Canceled) {
		err = l.finish(context.WithoutCancel(ctx))
	}
	conn.NetConn().Close() // not conn, which waits for a server that does not read
	listener.Wait()
	return l.settled, err
}

// dial connects and shakes hands.
func (f *Forwarder) dial(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Control: giveUpAfter(sendTimeout)}, Config: f.config.TLS}
	conn, err := dialer.DialContext(ctx, "tcp", f.config.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn.(*tls.Conn), nil // what a tls.Dialer returns
}

// A watchError is why the database cannot be watched.
type watchError struct{ err error }

func (e *watchError) Error() string { return "watch the audit trail: " + e.err.Error() }

func (e *watchError) Unwrap() error { return e.err }
