package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"borealis/store"
	"borealis/tunnel/wg"
)

const (
	linkRetry      = 10 * time.Second       // between attempts to open the WireGuard interface
	reopenAtOnce   = 3                      // openings after a loss, before it is a fight
	reconcileEvery = 5 * time.Second        // between looks at the WireGuard interface without news
	repairAgain    = time.Second            // after a repair that failed, whatever the news
	repairGap      = 200 * time.Millisecond // least time between two looks
	repairsTold    = 10                     // repairs in a row that are recorded
	repairsQuiet   = time.Minute            // after these, one in a minute
)

const linkGone = "The WireGuard interface was deleted by another program."

// A repairer keeps an open interface as the manager asked for it. Whoever attends the link
// has it, and nobody else.
type repairer struct {
	m        *Manager
	wg       *wg.Interface
	timer    *time.Timer // fires when the interface is to be looked at
	earliest time.Time   // of the next look, whatever the news
	failed   error       // the last time; nil = it did not
	talking  *rate.Limiter
	muted    int // repairs that were not told
}

// newRepairer looks at once at first: there may have been news before anybody listened.
func newRepairer(m *Manager, i *wg.Interface) *repairer {
	return &repairer{m: m, wg: i, timer: time.NewTimer(0), talking: rate.NewLimiter(rate.Every(repairsQuiet), repairsTold)}
}

// hurry makes the next look soon, because of news. Many together make one look.
func (r *repairer) hurry() { r.timer.Reset(max(time.Until(r.earliest), 0)) }

// repair compares the interface with what the manager asked of it and puts it right. When
// that fails twice in a row it returns why the interface must be given up.
func (r *repairer) repair(ctx context.Context) (lost string) {
	repaired, err := r.wg.Repair()
	r.tell(ctx, repaired)
	again, gap := r.m.config.reconcile, repairGap
	switch {
	case errors.Is(err, net.ErrClosed):
		return linkGone
	case err != nil && r.failed != nil:
		return fmt.Sprintf("The WireGuard interface could not be put right: %v.", err)
	case err != nil:
		r.m.log.WarnContext(ctx, "link_repair_failed", "link", r.wg.Name(), "err", err)
		again, gap = repairAgain, repairAgain
	}
	r.failed = err
	r.earliest = time.Now().Add(gap)
	r.timer.Reset(again)
	return ""
}

// tell logs and records what was put right.
func (r *repairer) tell(ctx context.Context, repaired []string) {
	if len(repaired) == 0 {
		return
	}
	for _, what := range repaired {
		kind := "link"
		if strings.HasPrefix(what, "Peer") {
			kind = "peer"
		}
		r.m.config.Observe.repaired(kind)
	}
	if !r.talking.Allow() {
		r.muted++
		return
	}
	detail := strings.Join(repaired, " ")
	if r.muted > 0 {
		detail += fmt.Sprintf(" The interface had to be repaired %d times before that, without a word each.", r.muted)
		r.muted = 0
	}
	r.m.log.WarnContext(ctx, "link_repaired", "link", r.wg.Name(), "reason", detail)
	r.m.record(store.Record{Kind: "link_repaired", Detail: bounded(detail)})
	r.m.watch.tell("")
}
