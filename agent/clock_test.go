package agent

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
)

// step is something that happens to a lease, some time after the step before.
type step struct {
	after time.Duration
	do    func(*lease)
}

func TestLease(t *testing.T) {
	t.Parallel()
	renew := func(d time.Duration) func(*lease) { return func(l *lease) { l.renew(d) } }
	tests := map[string]struct {
		steps  []step
		reason string // "" if it never ends.
		at     time.Duration
	}{
		"never renewed": {nil, wire.LeaseExpired, 90 * time.Second},
		"renewed twice": {[]step{{30 * time.Second, renew(wire.Lease)}, {30 * time.Second, renew(wire.Lease)}}, wire.LeaseExpired, 150 * time.Second},
		"renewed late":  {[]step{{89*time.Second + 999*time.Millisecond, renew(wire.Lease)}}, wire.LeaseExpired, 179*time.Second + 999*time.Millisecond},
		"shortened":     {[]step{{10 * time.Second, renew(time.Second)}}, wire.LeaseExpired, 11 * time.Second},
		"an hour asked": {[]step{{10 * time.Second, renew(time.Hour)}}, wire.LeaseExpired, 100 * time.Second},
		"channel lost":  {[]step{{10 * time.Second, (*lease).lost}}, wire.ChannelLost, 70 * time.Second},
		"lost twice":    {[]step{{10 * time.Second, (*lease).lost}, {30 * time.Second, (*lease).lost}}, wire.ChannelLost, 70 * time.Second},
		"lost and back": {[]step{{10 * time.Second, (*lease).lost}, {59 * time.Second, (*lease).back}}, wire.LeaseExpired, 90 * time.Second},
		"lost late":     {[]step{{50 * time.Second, (*lease).lost}}, wire.LeaseExpired, 90 * time.Second},
		"lost, back, renewed, lost": {[]step{
			{10 * time.Second, (*lease).lost}, {5 * time.Second, (*lease).back}, {time.Second, renew(wire.Lease)}, {time.Second, (*lease).lost},
		}, wire.ChannelLost, 77 * time.Second},
		"back without loss": {[]step{{10 * time.Second, (*lease).back}}, wire.LeaseExpired, 90 * time.Second},
		"stopped":           {[]step{{10 * time.Second, (*lease).stop}}, "", 0},
		"stopped, then all": {[]step{
			{10 * time.Second, (*lease).stop}, {0, renew(time.Second)}, {0, (*lease).lost}, {0, (*lease).back}, {0, (*lease).stop},
		}, "", 0},
		"renewed too late": {[]step{{91 * time.Second, renew(wire.Lease)}}, wire.LeaseExpired, 90 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				type end struct {
					Reason string
					At     time.Duration
				}
				var got []end
				began := time.Now()
				l := newLease(func(reason string) { got = append(got, end{reason, time.Since(began)}) })
				for _, s := range tt.steps {
					<-time.After(s.after)
					s.do(l)
				}
				<-time.After(time.Hour)
				synctest.Wait()
				var want []end
				if tt.reason != "" {
					want = []end{{tt.reason, tt.at}}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("ends (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRetryBacksOffAndResets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &backoff{random: func(limit time.Duration) time.Duration { return limit }, ceiling: firstWait}
		var waits []time.Duration
		last := time.Now()
		retry(ctx, b, nil, func(context.Context) bool {
			waits = append(waits, time.Since(last))
			last = time.Now()
			if len(waits) == 12 {
				cancel()
			}
			return len(waits) == 9
		})
		want := make([]time.Duration, 0, 12)
		for _, s := range []int{0, 1, 2, 4, 8, 16, 30, 30, 30, 1, 2, 4} {
			want = append(want, time.Duration(s)*time.Second)
		}
		if diff := cmp.Diff(want, waits); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
	})
}

func TestRetryEndsInTheMiddleOfAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const long = lastWait + lastWait/2
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		began := time.Now()
		tries := 0
		b := &backoff{random: func(limit time.Duration) time.Duration { return limit }, ceiling: lastWait}
		retry(ctx, b, nil, func(context.Context) bool { tries++; return false })
		if took := time.Since(began); tries != 2 || took != long {
			t.Errorf("%d tries in %v, want 2 in %v", tries, took, long)
		}
	})
}

func TestJitterIsFull(t *testing.T) {
	t.Parallel()
	const n = 4000
	var below, quarter int
	for range n {
		w := jitter(time.Minute)
		if w < 0 || w >= time.Minute {
			t.Fatalf("jitter is %v", w)
		}
		if w < 30*time.Second {
			below++
		}
		if w < 15*time.Second {
			quarter++
		}
	}
	// Six standard deviations around what is expected.
	if below < n/2-190 || below > n/2+190 || quarter < n/4-165 || quarter > n/4+165 {
		t.Errorf("of %d waits, %d are below a half and %d below a quarter of the limit", n, below, quarter)
	}
	b := newBackoff()
	for range 20 {
		b.next()
	}
	if b.ceiling != lastWait {
		t.Errorf("the ceiling is %v, want %v", b.ceiling, lastWait)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	dead := errors.New("dead")
	t.Run("pings until told to stop", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*wire.Heartbeat+time.Second)
			defer cancel()
			pings := 0
			if err := heartbeat(ctx, nil, func(context.Context) error { pings++; return nil }); err != nil || pings != 10 {
				t.Errorf("%d pings, %v; want 10 and no error", pings, err)
			}
		})
	})
	t.Run("tells of a dead engine", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if err := heartbeat(t.Context(), nil, func(context.Context) error { return dead }); !errors.Is(err, dead) {
				t.Errorf("%v, want %v", err, dead)
			}
		})
	})
	t.Run("does not wait for ever", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := heartbeat(t.Context(), nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != wire.Heartbeat+pongTimeout {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("is silent when told to stop in a ping", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), wire.Heartbeat+time.Second)
			defer cancel()
			if err := heartbeat(ctx, nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestClockJump(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wall, running time.Duration
		want          time.Duration // 0 for none.
	}{
		{15 * time.Second, 15 * time.Second, 0},
		{19 * time.Second, 15 * time.Second, 0},
		{11 * time.Second, 15 * time.Second, 0},
		{time.Hour, 15 * time.Second, time.Hour - 15*time.Second},
		{-time.Hour, 15 * time.Second, -time.Hour - 15*time.Second},
	}
	for _, tt := range tests {
		var got time.Duration
		if jump, ok := errors.AsType[*clockJump](jumped(tt.wall, tt.running)); ok {
			got = jump.gap
		}
		if got != tt.want {
			t.Errorf("wall %v, running %v: jump of %v, want %v", tt.wall, tt.running, got, tt.want)
		}
	}
}

func TestSleepEndsTheTunnelOnlyWhenLong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		admitted bool
		why      error
		want     string
	}{
		"a short sleep":        {true, &clockJump{30 * time.Second}, ""},
		"a long sleep":         {true, &clockJump{wire.Lease + time.Second}, wire.LeaseExpired},
		"the clock set back":   {true, &clockJump{-time.Hour}, ""},
		"a lost connection":    {true, errors.New("reset"), ""},
		"lost before admitted": {false, errors.New("reset"), wire.ChannelLost},
	}
	for name, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			a := new(Agent)
			s := &session{admitted: tt.admitted, end: func() {}}
			s.lease = newLease(func(reason string) { a.finish(s, reason) })
			defer s.lease.stop()
			a.mu.Lock()
			a.unheardLocked(s, tt.why)
			got := s.reason
			a.mu.Unlock()
			if got != tt.want {
				t.Errorf("%s: ends with %q, want %q", name, got, tt.want)
			}
			<-time.After(wire.ChannelGrace + time.Second)
			synctest.Wait()
			if !s.ending {
				t.Errorf("%s: lives on without a channel", name)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r replay
		if err := r.use("a"); err != nil {
			t.Error(err)
		}
		if err := r.use("a"); err == nil {
			t.Error("a token is used twice")
		}
		<-time.After(rememberFor)
		if err := r.use("a"); err == nil {
			t.Error("a token is used twice while it may hold")
		}
		<-time.After(2 * rememberFor)
		for i := range rememberMax {
			if err := r.use(strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.use("one more"); err == nil {
			t.Error("an id is used that cannot be remembered")
		}
		<-time.After(rememberFor + time.Second)
		if err := r.use("one more"); err != nil || len(r.used) != 1 {
			t.Errorf("later: %v, with %d remembered", err, len(r.used))
		}
	})
}
