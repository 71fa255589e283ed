package tunnel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"borealis/store"
)

// record writes down what has happened: now, or when the audit trail can be written.
func (m *Manager) record(what store.Record) { m.recorder.add(m.recorder.record(what, false)) }

// recordNow is record, and waits until it is written or has to wait for the trail.
func (m *Manager) recordNow(ctx context.Context, what store.Record) {
	m.recorder.settle(ctx, m.recorder.record(what, false))
}

// recordEnd is record for the end of something whose begin is on record.
func (m *Manager) recordEnd(what store.Record) { m.recorder.add(m.recorder.record(what, true)) }

// recordFirst writes down what is about to be done, and what may not be done when the
// error is not nil. That it was refused is then on record as soon as that is possible.
func (m *Manager) recordFirst(ctx context.Context, what store.Record) error {
	what.At = time.Now()
	return m.unrecorded(ctx, what, m.config.Store.AddRecord(ctx, what))
}

// unrecorded is recordFirst for a record that was written, or could not be, together with
// something else.
func (m *Manager) unrecorded(ctx context.Context, what store.Record, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("record %s: %w", what.Kind, err)
	}
	what.Result = store.Refused
	m.record(what)
	return fmt.Errorf("%w: %w", ErrUnavailable, &unwritable{err})
}

// Recording tells why the audit trail cannot be written at present; nil when it can.
// What has to be recorded is refused meanwhile, and after a minute every tunnel ends.
func (m *Manager) Recording() error { return m.recorder.failing() }

// recordable is [ErrUnavailable] while the audit trail cannot be written.
func (m *Manager) recordable() error {
	if err := m.Recording(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// endUnrecorded ends every tunnel, because what happens in them cannot be recorded.
func (m *Manager) endUnrecorded() {
	m.mu.Lock()
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range live {
		s.fail(InternalError, (&unwritable{}).Error())
	}
}
