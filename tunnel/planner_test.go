package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/acl"
)

// A slowFirewall takes a plan when the test lets it, and answers what the test says.
type slowFirewall struct {
	begun chan acl.Plan
	end   chan error
}

func (f *slowFirewall) Set(_ context.Context, p acl.Plan) error {
	f.begun <- p.Clone()
	return <-f.end
}

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 255, 0, byte(n)}) }

var someTCP = []acl.Port{{Protocol: acl.TCP, From: 80, To: 80}}

// waiting returns when n callers wait for the next setting.
func (p *planner) waiting(t *testing.T, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		p.mu.Lock()
		have := 0
		if p.next != nil {
			have = len(p.next.changes)
		}
		p.mu.Unlock()
		if have == n {
			return
		}
	}
}

func TestPlannerCommitsTogether(t *testing.T) {
	t.Parallel()
	const callers = 100
	errFull := errors.New("the table is full")
	for name, c := range map[string]struct {
		answer error
		want   int // addresses that are open in the end
	}{
		"taken":   {nil, callers},
		"refused": {errFull, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var guard acl.Guard
			p := newPlanner(&guard)
			f := &slowFirewall{begun: make(chan acl.Plan), end: make(chan error)}
			p.setHost(f)
			var work sync.WaitGroup
			work.Go(func() {
				if err := p.set(t.Context(), address(1), someTCP); err != nil {
					t.Error(err)
				}
			})
			if got := <-f.begun; len(got) != 1 {
				t.Errorf("the first plan is %v", got)
			}
			for i := range callers {
				work.Go(func() {
					ports := someTCP
					if i == 0 {
						ports = nil // closes the first one
					}
					if err := p.set(t.Context(), address(i+1), ports); !errors.Is(err, c.answer) {
						t.Errorf("caller %d: %v", i, err)
					}
				})
			}
			p.waiting(t, callers)
			f.end <- nil
			if got := <-f.begun; len(got) != callers-1 { // one setting for all of them
				t.Errorf("the second plan has %d addresses", len(got))
			}
			f.end <- c.answer
			work.Wait()
			open := 0
			for i := range callers {
				if guard.Check(acl.TCP, netip.AddrPortFrom(address(i+1), 80)) == nil {
					open++
				}
			}
			if want := max(c.want-1, 0); open != want || len(p.plan) != want {
				t.Errorf("%d addresses are open, and the plan has %d, want %d", open, len(p.plan), want)
			}
		})
	}
}

// TestPlannerSaysTheWholePlan goes on after a refusal with what is wanted, and not
// with what was refused.
func TestPlannerSaysTheWholePlan(t *testing.T) {
	t.Parallel()
	p := newPlanner(new(acl.Guard))
	f := &slowFirewall{begun: make(chan acl.Plan, 1), end: make(chan error, 1)}
	p.setHost(f)
	more := []acl.Port{{Protocol: acl.TCP, From: 443, To: 443}}
	for _, step := range []struct {
		addr  netip.Addr
		ports []acl.Port
		err   error
		want  acl.Plan
	}{
		{address(1), someTCP, nil, acl.Plan{address(1): someTCP}},
		{address(2), someTCP, nil, acl.Plan{address(1): someTCP, address(2): someTCP}},
		{address(1), more, errors.New("no"), acl.Plan{address(1): more, address(2): someTCP}},
		{address(2), nil, errors.New("no"), acl.Plan{address(1): someTCP}}, // stays wanted
		{address(3), more, nil, acl.Plan{address(1): someTCP, address(3): more}},
	} {
		f.end <- step.err
		if err := p.set(t.Context(), step.addr, step.ports); !errors.Is(err, step.err) {
			t.Errorf("%s: %v", step.addr, err)
		}
		if diff := cmp.Diff(step.want, <-f.begun, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.addr, diff)
		}
	}
}
