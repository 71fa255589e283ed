package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"borealis/store"
)

const (
	maxUnwritten  = 1000             // records that wait for the audit trail
	recordEvery   = time.Second      // between attempts while it cannot be written
	recordLongest = 60 * time.Second // without the audit trail before every tunnel is ended
	recordTimeout = 10 * time.Second // for one attempt
)

// A recorder writes to the audit trail what has happened and so cannot be refused: at
// once when it can, else later, in the order in which it happened. What has not happened
// yet is written by whoever is about to do it, and not done when that fails.
type recorder struct {
	store   *store.Store
	log     *slog.Logger
	every   time.Duration       // between attempts while the trail cannot be written
	longest time.Duration       // without the trail before giveUp
	giveUp  func()              // ends what may not go on without the trail; called more than once, must not wait
	tell    func(device string) // that something about a device is on record; "": that the trail is (un)writable
	wake    chan struct{}       // there is something to write
	end     sync.Once           // closes over
	over    chan struct{}       // tells keep to end
	gone    chan struct{}       // closed when it has ended

	mu     sync.Mutex
	queue  []*entry  // oldest first
	cause  error     // why the trail could not be written; nil once nothing waits
	since  time.Time // nothing could be written; zero while something can
	lost   int       // records for which there was no room
	closed bool
}

// An entry is one thing to be written.
type entry struct {
	kind, device, tunnel string

	write func(context.Context) error
	must  bool          // it ends what is on record as begun, so there are not many: it is always kept
	tried chan struct{} // closed once it is written, or waits for the trail
}

// An unwritable says to people that the audit trail cannot be written; what the matter
// is stands in the log.
type unwritable struct{ cause error }

func (e *unwritable) Error() string { return "the audit trail cannot be written" }
func (e *unwritable) Unwrap() error { return e.cause }

func newRecorder(c Config, giveUp func(), tell func(string)) *recorder {
	return &recorder{
		store: c.Store, log: c.Logger, every: c.rewrite, longest: c.unrecorded, giveUp: giveUp, tell: tell,
		wake: make(chan struct{}, 1), over: make(chan struct{}), gone: make(chan struct{}),
	}
}

// record is the entry of a record that is written as it is.
func (r *recorder) record(what store.Record, must bool) *entry {
	if what.At.IsZero() {
		what.At = time.Now()
	}
	return &entry{
		kind: what.Kind, device: what.DeviceID, tunnel: what.TunnelID, must: must,
		write: func(ctx context.Context) error { return r.store.AddRecord(ctx, what) },
	}
}

// add takes an entry and waits for nothing, as long as keep runs.
func (r *recorder) add(e *entry) {
	e.tried = make(chan struct{})
	if r.take(e) {
		return
	}
	if err := r.try(e); err != nil { // keep has ended: now or never
		r.lose(e, err)
	}
	close(e.tried)
}

// settle is add, and waits until the entry is written or has to wait for the trail.
func (r *recorder) settle(ctx context.Context, e *entry) {
	r.add(e)
	select {
	case <-e.tried:
	case <-ctx.Done():
	}
}

// take puts an entry into the queue. It reports false when keep has ended.
func (r *recorder) take(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return false
	case r.cause != nil && len(r.queue) >= maxUnwritten && !e.must:
		r.lost++
		r.lose(e, errors.New("too many records wait already"))
		close(e.tried)
		return true
	case r.cause != nil:
		close(e.tried)
	}
	r.queue = append(r.queue, e)
	offer(r.wake, struct{}{})
	return true
}

// keep writes what is added, until close is called.
func (r *recorder) keep() {
	defer close(r.gone)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		wake := r.wake
		if r.writeAll() {
			again.Stop()
		} else {
			again.Reset(r.every)
			wake = nil // until then
		}
		select {
		case <-wake:
		case <-again.C:
		case <-r.over:
			r.finish()
			return
		}
	}
}

// close writes what waits, if that is possible, and ends keep.
func (r *recorder) close() {
	r.end.Do(func() { close(r.over) })
	<-r.gone
}

// finish tries to write what waits, for the last time.
func (r *recorder) finish() {
	for {
		written := r.writeAll()
		r.mu.Lock()
		if r.closed = !written || len(r.queue) == 0; r.closed {
			break
		}
		r.mu.Unlock()
	}
	for _, e := range r.queue {
		r.lose(e, r.cause)
	}
	r.queue = nil
	r.mu.Unlock()
}

// writeAll writes what waits, oldest first. It reports false when that cannot be done
// at present.
func (r *recorder) writeAll() bool {
	for {
		r.mu.Lock()
		var e *entry
		if len(r.queue) > 0 {
			e = r.queue[0]
		}
		r.mu.Unlock()
		if e == nil {
			return true
		}
		if err := r.try(e); err != nil {
			r.wait(e, err)
			return false
		}
		device := e.device
		if r.next() {
			device = ""
		}
		r.tell(device)
	}
}

// try writes one entry. What the store will never take is not tried again.
func (r *recorder) try(e *entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	err := e.write(ctx)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		r.log.Error("record_refused", "kind", e.kind, "agent", e.device, "tunnel", e.tunnel, "err", err)
		return nil
	}
	return err
}

// next takes the oldest entry out of the queue, which has been written. It reports
// whether that was the last one and the trail is as it should be again.
func (r *recorder) next() (recovered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil {
		close(r.queue[0].tried)
	}
	r.queue = r.queue[1:]
	r.since = time.Time{}
	if len(r.queue) > 0 || r.cause == nil {
		return false
	}
	if r.lost > 0 {
		gap := r.record(store.Record{Kind: "records_lost", Detail: fmt.Sprintf("%d, for which there was no room", r.lost)}, true)
		gap.tried = make(chan struct{})
		close(gap.tried)
		r.queue, r.lost = append(r.queue, gap), 0
		return false
	}
	r.cause = nil
	r.log.Info("audit_writable")
	return true
}

// wait notes that the oldest entry could not be written: nobody waits for it any more,
// nor for those behind it. When this has been so for too long, or something was lost,
// nothing may go on that would have to be recorded.
func (r *recorder) wait(e *entry, cause error) {
	now := time.Now()
	r.mu.Lock()
	begins := r.cause == nil
	if begins {
		for _, e := range r.queue {
			close(e.tried)
		}
	}
	if r.since.IsZero() {
		r.since = now
	}
	r.cause = cause
	enough := now.Sub(r.since) >= r.longest || r.lost > 0
	r.mu.Unlock()
	if begins {
		r.log.Error("audit_unwritable", "kind", e.kind, "agent", e.device, "tunnel", e.tunnel, "err", cause)
		r.tell("")
	}
	if enough {
		r.giveUp()
	}
}

// failing is why the trail cannot be written at present; nil when it can.
func (r *recorder) failing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil {
		return nil
	}
	return &unwritable{r.cause}
}

// lose logs a record that will not be written.
func (r *recorder) lose(e *entry, err error) {
	r.log.Error("record_lost", "kind", e.kind, "agent", e.device, "tunnel", e.tunnel, "err", err)
}
