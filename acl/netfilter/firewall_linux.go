package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/time/rate"

	"borealis/acl"
)

// lockName is the abstract socket that the one engine of a network namespace holds.
const lockName = "@borealis-netfilter"

// Firewall keeps a plan in the packet filter until it is closed. It is an [acl.Firewall].
// All methods may be called concurrently.
type Firewall struct {
	config   Config
	families []family // IPv4 first
	lock     net.Listener
	wake     chan struct{} // asks the watcher to look at once
	stop     context.CancelFunc
	work     sync.WaitGroup

	turn       chan struct{} // whoever has taken its one token may change the rules and the fields below
	plan       acl.Plan      // what the kernel was last told
	generation uint32        // of the kernel's rules when they were known to be right; 0 means not known
	failures   int           // checks that failed in a row
	closed     bool

	mu      sync.Mutex
	health  error   // why the rules are not known to be right
	events  []Event // not yet told
	muted   int     // repairs that nobody was told of, because there were too many
	talking *rate.Limiter
}

// Open removes what an earlier run left behind, closes every virtual address (the plan is empty),
// and watches from then on that the rules stay. The caller closes the firewall. One process at a
// time may have one open in a network namespace.
//
// Errors for errors.Is: [ErrNoIPTables], [ErrLegacy], [os.ErrPermission], [ErrInUse], and
// [errors.ErrUnsupported] for a kernel without nf_tables. When Open fails, nothing stays behind.
func Open(ctx context.Context, c Config) (*Firewall, error) {
	f, err := open(ctx, c, os.Getenv("PATH"))
	if err != nil {
		return nil, fmt.Errorf("open the packet filter: %w", err)
	}
	return f, nil
}

// open is Open with the search path for iptables.
func open(ctx context.Context, c Config, path string) (*Firewall, error) {
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	if err := possible(); err != nil {
		return nil, err
	}
	found, err := families(ctx, path)
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	lock, err := listen.Listen(ctx, "unix", lockName)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; stop the other one first", ErrInUse)
	} else if err != nil {
		return nil, fmt.Errorf("hold the name %s: %w", lockName, err)
	}
	f := &Firewall{ // its generation is not known yet
		config: c, families: found, lock: lock, plan: acl.Plan{},
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		talking: rate.NewLimiter(rate.Every(quietTime), talkativeness),
	}
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// begin makes the rules of the empty plan and starts the watcher.
func (f *Firewall) begin(ctx context.Context) error {
	news, err := subscribe()
	if err != nil {
		return err
	}
	have, err := f.look(ctx)
	if err == nil {
		_, err = f.repair(ctx, have, f.plan)
	}
	if err != nil {
		news.Close()
		return errors.Join(err, f.sweep(context.WithoutCancel(ctx)))
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	f.work.Go(func() { f.watch(watching, news) })
	return nil
}

// take waits for the right to change the rules; the caller gives it back.
func (f *Firewall) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Firewall) give() { <-f.turn }

// Set makes plan the wanted state. Only what differs from the plan before is sent, as one batch
// that the kernel takes whole or not at all. When Set fails, the plan before still holds.
func (f *Firewall) Set(ctx context.Context, plan acl.Plan) error {
	plan, err := checked(f.config, plan)
	if err == nil {
		err = f.take(ctx)
	}
	if err != nil {
		return fmt.Errorf("set the packet filter: %w", err)
	}
	defer f.give()
	if f.closed {
		return fmt.Errorf("set the packet filter: %w", ErrClosed)
	}
	if b := change(f.config, f.plan, plan); b.text() != "" {
		if err = f.families[0].send(ctx, b); err == nil {
			f.committed()
		} else {
			err = f.force(ctx, plan, err)
		}
	}
	if err != nil {
		return fmt.Errorf("set the packet filter: %w", err)
	}
	f.plan = plan
	return nil
}

// force sets a plan where the rules are not what they were taken for. A plan is about IPv4 alone;
// what else is wrong is for the watcher.
func (f *Firewall) force(ctx context.Context, plan acl.Plan, cause error) error {
	f.unsure()
	have, err := f.look(ctx)
	if err != nil {
		return errors.Join(cause, err)
	}
	if err := f.sendTo(ctx, 0, have, rules4(f.config, plan)); err != nil {
		return errors.Join(cause, err)
	}
	if wrong := have.drift(f.wanted(f.plan)); len(wrong) > 0 && f.failures == 0 {
		f.tell(Repaired, sentence(wrong), nil)
	}
	return nil
}

// committed takes note of a change of our own. The rules are still known to be right if nobody
// else changed any since they were.
func (f *Firewall) committed() {
	now, err := generation()
	if err == nil && f.generation != 0 && now == f.generation+1 {
		f.generation = now
		return
	}
	f.unsure()
}

// unsure has the watcher check the rules whatever their generation is.
func (f *Firewall) unsure() {
	f.generation = 0
	f.poke()
}

// poke wakes the watcher.
func (f *Firewall) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it is awake
	}
}

// Check compares the rules in the kernel with what they should be, now, and repairs them if they
// differ. It returns nil when they are right or right again.
func (f *Firewall) Check(ctx context.Context) error {
	if err := f.take(ctx); err != nil {
		return fmt.Errorf("check the packet filter: %w", err)
	}
	defer f.give()
	if f.closed {
		return fmt.Errorf("check the packet filter: %w", ErrClosed)
	}
	if _, err := f.check(ctx); err != nil {
		return fmt.Errorf("check the packet filter: %w", err)
	}
	return nil
}

// Healthy says why the rules are not known to be right, or returns nil when they are.
func (f *Firewall) Healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

// Counters reads the counters of an address, which must be in the plan.
func (f *Firewall) Counters(ctx context.Context, addr netip.Addr) (Counters, error) {
	if err := f.take(ctx); err != nil {
		return Counters{}, fmt.Errorf("read the counters of %s: %w", addr, err)
	}
	defer f.give()
	c, err := f.counters(addr)
	if err != nil {
		return Counters{}, fmt.Errorf("read the counters of %s: %w", addr, err)
	}
	return c, nil
}

// Close undoes Open: nothing of the firewall's is left behind. It may be called twice.
func (f *Firewall) Close() error {
	f.stop()
	f.work.Wait()
	f.turn <- struct{}{}
	defer f.give()
	if f.closed {
		return nil
	}
	f.closed = true
	f.setHealth(ErrClosed)
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeLimit)
	defer cancel()
	if err := errors.Join(f.sweep(ctx), f.lock.Close()); err != nil {
		return fmt.Errorf("close the packet filter: %w", err)
	}
	return nil
}

// sweep removes all that is ours. Another program may change the rules meanwhile, so it tries twice.
func (f *Firewall) sweep(ctx context.Context) error {
	var err error
	for range 2 {
		var have tables
		if have, err = f.look(ctx); err != nil {
			continue
		}
		if err = f.send(ctx, have, make([]rules, len(f.families))); err == nil {
			return nil
		}
	}
	return err
}
