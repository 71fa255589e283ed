package handlers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
)

// The rhythm of the enforcer.
const (
	changesEvery = 200 * time.Millisecond // how soon a commit is noticed, of whichever process
	enforceEvery = 15 * time.Second       // for what ends by itself, as locks and sessions do
	enforceRetry = time.Second            // after the database could not be read
	dropTimeout  = 10 * time.Second       // for a device to be cut off
)

// An enforcer ends what somebody has open once they may not have it any more.
type enforcer struct {
	woken chan struct{}
	stop  context.CancelFunc
	work  sync.WaitGroup

	locks  []store.Lock // as pages were told of them last
	barred map[string]string
}

// wake makes the enforcer look at once, after a change that takes something away.
func (e *enforcer) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// startEnforcing runs the enforcer, and what else the engine does about access by itself,
// until stopEnforcing.
func (s *Server) startEnforcing() {
	ctx, stop := context.WithCancel(context.Background())
	s.access.woken, s.access.stop = make(chan struct{}, 1), stop
	s.access.work.Go(func() { s.keepEnforcing(ctx) })
	s.access.work.Go(func() { s.watchChanges(ctx) })
	s.access.work.Go(func() { s.keepEnrolment(ctx) })
}

func (s *Server) stopEnforcing() {
	s.access.stop()
	s.access.work.Wait()
}

// watchChanges wakes the enforcer after each commit, also of a command that changes the
// database of a running engine.
func (s *Server) watchChanges(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.config.Store.Changes(ctx, changesEvery, s.access.wake)
		if err == nil || errors.Is(err, store.ErrClosed) {
			return
		}
		s.log.ErrorContext(ctx, "changes_unseen", "err", err)
		s.access.wake()
		pause(ctx, enforceRetry)
	}
}

func (s *Server) keepEnforcing(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.access.woken:
		case <-tick.C:
		}
		next := enforceEvery
		err := s.config.Store.ExpireLocks(ctx, time.Now())
		if err = errors.Join(err, s.enforce(ctx)); err != nil && ctx.Err() == nil {
			if errors.Is(err, store.ErrClosed) {
				return
			}
			s.log.ErrorContext(ctx, "enforce_failed", "err", err)
			next = enforceRetry
		}
		tick.Reset(next)
	}
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// An offence is something open that its owner may not have: a stream, a hold on a
// tunnel, or with neither of them, a device's own connection.
type offence struct {
	stream *stream
	device string
	holder tunnel.Holder
}

// enforce compares what is open with who may have it, and ends the rest. Doing it again
// changes nothing. Whatever looks wrong is looked at twice: what began after the first
// look at the database may rest on something that this look did not see.
func (s *Server) enforce(ctx context.Context) error {
	suspects, err := s.look(ctx, nil)
	if err != nil || len(suspects) == 0 {
		return err
	}
	_, err = s.look(ctx, suspects)
	return err
}

// look finds everything open that may not be, and ends it where it was suspected before.
func (s *Server) look(ctx context.Context, suspects map[offence]bool) (map[offence]bool, error) {
	open := s.streams.owned()
	now, err := s.config.Store.Standing(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	s.tellOfLocks(now)
	found := make(map[offence]bool)
	guilty := func(o offence) bool {
		found[o] = true
		return suspects[o]
	}
	for _, one := range open {
		if err := mayKeep(now, one.owner); err != nil && guilty(offence{stream: one}) {
			one.cancel(err)
		}
	}
	s.config.Manager.Evict(ctx, func(d store.Device, h tunnel.Holder) tunnel.Reason {
		why := evicted(now, d, h)
		if why == "" || !guilty(offence{device: d.ID, holder: h}) {
			return ""
		}
		return why
	})
	s.dropBarred(ctx, now, guilty)
	return found, s.settleWaiting(ctx, now)
}

// settleWaiting tells the agents that wait for approval what was decided about them, and
// cuts those off that were turned away.
func (s *Server) settleWaiting(ctx context.Context, now store.Standing) error {
	for _, id := range s.config.Manager.Waiting() {
		if now.Waiting[id] {
			continue
		}
		d, err := s.config.Store.Device(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.config.Manager.Drop(ctx, id, tunnel.DeviceRevoked)
		case err != nil:
			return err
		case d.State == store.Active:
			s.config.Manager.StateChanged(id, d.State)
		}
	}
	return nil
}

// dropBarred cuts the devices off that are not trusted any more.
func (s *Server) dropBarred(ctx context.Context, now store.Standing, guilty func(offence) bool) {
	there := s.config.Manager.OnlineIDs()
	for _, t := range s.config.Manager.Tunnels() {
		there[t.DeviceID] = true
	}
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	var work sync.WaitGroup
	for id := range there {
		if now.Barred[id] != "" && guilty(offence{device: id}) {
			work.Go(func() { s.config.Manager.Drop(ctx, id, tunnel.DeviceRevoked) })
		}
	}
	work.Wait()
}

// tellOfLocks makes pages show what was locked or barred, or is not any more.
func (s *Server) tellOfLocks(now store.Standing) {
	e := &s.access
	if slices.Equal(e.locks, now.Locks) && maps.Equal(e.barred, now.Barred) {
		return
	}
	e.locks, e.barred = now.Locks, now.Barred
	s.config.Manager.Changed("")
}

// errRightsChanged ends a page's stream when its operator may do more or less than when
// it began: the page is drawn anew.
var errRightsChanged = errors.New("what the operator may do has changed")

// mayKeep is why an open answer may not stay open; nil when it may.
func mayKeep(now store.Standing, o owner) error {
	if err := standing(now, o.operator.ID, o.credential, o.needs, o.device); err != nil {
		return err
	}
	if o.needs == access.Look {
		if is := now.Operators[o.operator.ID]; is.Role != o.operator.Role || !slices.Equal(is.Sites, o.operator.Sites) {
			return errRightsChanged
		}
		return nil
	}
	if l := deviceLock(now.Locks, o.device); l != nil {
		return locked(*l)
	}
	return nil
}

// evicted is why somebody may not go on using a device's tunnel; "" when they may.
func evicted(now store.Standing, d store.Device, h tunnel.Holder) tunnel.Reason {
	err := mayKeep(now, owner{operator: store.Operator{ID: h.OperatorID}, credential: h.Session, device: d, needs: access.Connect})
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errSessionGone):
		return tunnel.OperatorLeft
	case problemOf(err).Code == codeDeviceLocked:
		return tunnel.DeviceLocked
	}
	return tunnel.OperatorLocked
}

// standing is why somebody may not use a right now, on a device unless it is zero.
func standing(now store.Standing, operator, credential string, needs access.Right, d store.Device) error {
	for _, l := range now.Locks {
		if l.Kind == store.LockOperator && l.Target == operator {
			return locked(l)
		}
	}
	p := principal{operator: now.Operators[operator]}
	switch {
	case p.operator.ID == "", now.Credentials[credential] != operator:
		return errSessionGone
	case !p.may(needs):
		return p.need(needs)
	case d.ID != "" && !p.scope().Has(d.Site):
		return failureOf(tunnel.ErrUnknownDevice)
	}
	return nil
}
