package handlers

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newThrottle(sourceBurst)
		for i := range 3 {
			if wait := s.charge("a"); wait != 0 {
				t.Fatalf("failure %d is refused for %s", i+1, wait)
			}
		}
		if wait := s.charge("a"); wait != 15*time.Second {
			t.Errorf("the fourth is refused for %s", wait)
		}
		if wait := s.wait("a"); wait != 15*time.Second {
			t.Errorf("waiting is for %s", wait)
		}
		if s.charge("b") != 0 || s.wait("c") != 0 {
			t.Error("others are refused")
		}
		time.Sleep(15*time.Second - 1)
		if s.charge("a") != 1 {
			t.Error("the penalty ends early")
		}
		time.Sleep(time.Nanosecond)
		if s.charge("a") != 0 {
			t.Error("the penalty does not end")
		}
		// What is forgiven was never owed.
		for range 100 {
			if s.charge("d") != 0 {
				t.Fatal("a forgiven failure counts")
			}
			s.forgive("d")
		}
		// A failure now and then is never refused.
		for range 100 {
			if s.charge("e") != 0 {
				t.Fatal("one failure in 5 seconds is refused")
			}
			time.Sleep(penalty)
		}
		long := newThrottle(maxPenalty - 1)
		for range 1000 {
			long.charge("f")
		}
		if wait := long.wait("f"); wait != maxPenalty {
			t.Errorf("the longest penalty is %s", wait)
		}
	})
}

// TestThrottleIsBounded: a flood of sources does not fill the memory, and does not
// make the others free.
func TestThrottleIsBounded(t *testing.T) {
	t.Parallel()
	s := newThrottle(sourceBurst)
	for i := range maxOwing + 5000 {
		s.charge(fmt.Sprint(i))
		if len(s.owing) > maxOwing {
			t.Fatalf("%d sources are remembered", len(s.owing))
		}
	}
	if len(s.owing) < maxOwing/2 {
		t.Errorf("only %d sources are remembered", len(s.owing))
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(2)
		for range 2 {
			if b.spent() {
				t.Fatal("spent early")
			}
			b.spend()
		}
		if !b.spent() {
			t.Fatal("never spent")
		}
		time.Sleep(30 * time.Minute)
		if b.spent() {
			t.Error("does not fill up")
		}
	})
}

func TestSource(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:1":                    "192.0.2.1",
		"[::ffff:192.0.2.1]:1":           "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1":       "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff:4:5:6]:2000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":               "fe80::/64",
	} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
		if got := source(r); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}
