package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"borealis/store"
)

// A link is one connection to a log server. It is for one goroutine, but for listen.
type link struct {
	*Forwarder
	conn    *tls.Conn
	sent    int64 // the last record that was written to the connection
	settled int64 // the last one that counts as delivered
	signed  int64 // the last one that the checkpoint covers which was sent
	marks   []mark
	broken  chan error // the connection has ended
}

// A mark is when everything up to a record had been sent.
type mark struct {
	seq int64
	at  time.Time
}

// errServerClosed is the end of a connection in good order.
var errServerClosed = errors.New("the log server closed the connection")

// listen returns when the connection ends. Log servers do not say anything.
func (l *link) listen() error {
	_, err := io.Copy(io.Discard, l.conn)
	if err == nil {
		err = errServerClosed
	}
	return err
}

// work sends what there is and what comes, until the connection breaks or ctx ends.
func (l *link) work(ctx context.Context) error {
	for {
		more, err := l.send(ctx)
		if err != nil {
			return err
		}
		wait := time.NewTimer(l.untilSettled())
		if more {
			wait.Reset(0)
		}
		select {
		case <-wait.C:
		case <-l.wake:
		case err := <-l.broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		wait.Stop()
		l.settleUp(ctx, time.Now())
	}
}

// send writes the next records, and reports whether there may be more.
func (l *link) send(ctx context.Context) (more bool, err error) {
	var out bytes.Buffer
	head, _, err := l.config.Store.Head(ctx)
	if err != nil {
		return false, err
	}
	next := l.sent
	if head-next > l.behind {
		if err := l.skip(ctx, &out, next+1, head-l.behind); err != nil {
			return false, err
		}
		next = head - l.behind
	}
	found, err := batch(ctx, l.config.Store, next, forwardBatch)
	if err != nil {
		return false, err
	}
	for _, r := range found {
		out.Write(recordMessage(r).frame(l.config.Host))
		next = r.Seq
	}
	if c, ok := l.nextCheckpoint(next); ok {
		out.Write(checkpointMessage(c).frame(l.config.Host))
		l.signed = c.Seq
	}
	if out.Len() == 0 {
		return false, nil
	}
	if err := l.write(ctx, out.Bytes()); err != nil {
		return false, fmt.Errorf("send: %w", err)
	}
	if next > l.sent {
		l.sent = next
		l.marks = append(l.marks, mark{next, time.Now()})
	}
	return len(found) == forwardBatch, nil
}

// write sends bytes in pieces, so that a server which takes few at a time is slow and
// not dead. After the end of ctx there is drainTimeout left.
func (l *link) write(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		piece := data[:min(len(data), sendPiece)]
		if err := l.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() {
			_ = l.conn.SetWriteDeadline(time.Now().Add(drainTimeout)) // it only fails when the connection is closed
		})
		_, err := l.conn.Write(piece)
		stop()
		if err != nil {
			return err
		}
		data = data[len(piece):]
	}
	return nil
}

// skip leaves records out, and tells the log server, the log and the trail.
func (l *link) skip(ctx context.Context, out *bytes.Buffer, from, to int64) error {
	out.Write(gapMessage(time.Now(), from, to).frame(l.config.Host))
	if from == l.gap {
		return nil // said on a connection before
	}
	l.gap = from
	l.config.Logger.ErrorContext(ctx, "syslog_gap", "addr", l.config.Address, "reason", gapText(from, to))
	return l.config.Store.AddRecord(ctx, store.Record{
		Kind: "syslog_gap", Result: store.Failed, Reason: "too_far_behind", Detail: gapText(from, to),
	})
}

// nextCheckpoint is the newest checkpoint, if it covers nothing but what was sent and
// was not sent itself.
func (l *link) nextCheckpoint(sent int64) (store.Checkpoint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.checkpoint
	return c, c.Seq > l.signed && c.Seq <= sent
}

// untilSettled is how long it takes until the next records count as delivered.
func (l *link) untilSettled() time.Duration {
	if len(l.marks) == 0 {
		return l.settle
	}
	return max(time.Until(l.marks[0].at.Add(l.settle)), 0)
}

// settleUp moves the cursor to what was sent long enough before now.
func (l *link) settleUp(ctx context.Context, now time.Time) {
	settled := l.settled
	for len(l.marks) > 0 && now.Sub(l.marks[0].at) >= l.settle {
		settled = l.marks[0].seq
		l.marks = l.marks[1:]
	}
	l.moveCursor(ctx, settled)
}

// moveCursor notes what was delivered. When that fails the worst that comes of it is
// that records are sent again after a restart.
func (l *link) moveCursor(ctx context.Context, seq int64) {
	if seq == l.settled {
		return
	}
	l.settled = seq
	if err := writeCursor(l.config.Cursor, seq); err != nil {
		l.config.Logger.WarnContext(ctx, "syslog_cursor_lost", "err", err)
	}
}

// finish sends what is left and closes in good order: once the server has closed its
// side, it has read everything. RFC 5425, section 4.4.
func (l *link) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.conn.NetConn().Close() })()
	for more := true; more; {
		var err error
		if more, err = l.send(ctx); err != nil {
			return err
		}
	}
	if err := l.conn.CloseWrite(); err != nil {
		return err
	}
	select {
	case err := <-l.broken:
		if errors.Is(err, errServerClosed) {
			l.moveCursor(ctx, l.sent)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
