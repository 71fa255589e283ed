package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// Whoever comes back at the offset it left gets every byte once, or is told how many were lost.
func TestResume(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]int{"large ring": 0, "small ring": 16 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkResume(t, ring)
		})
	}
}

func checkResume(t *testing.T, ring int) {
	t.Helper()
	path, want := stream(t, 4<<20)
	c := newDevice(t).config(t)
	c.Ring = ring
	term := open(t, c)
	first := quiet(t, term)
	base := first.at - int64(len(first.out))
	first.typeln("cat " + path)
	first.Close()

	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	at, lost := base, int64(0)
	for at < base+int64(len(want)) {
		v := term.View(at)
		start, missed := v.Start()
		if start != at+missed {
			t.Fatalf("seed %d: starts at %d having lost %d after %d", seed, start, missed, at)
		}
		lost += missed
		at = start
		for range random.IntN(40) {
			data, offset, err := v.Next(t.Context())
			if errors.Is(err, ErrOverrun) {
				break
			}
			if err != nil || offset != at {
				t.Fatalf("seed %d: Next: offset %d where %d was due, %v", seed, offset, at, err)
			}
			used := len(data)
			if random.IntN(4) == 0 { // this much reached the browser before its connection broke
				used = random.IntN(len(data))
			}
			from := min(int(at-base), len(want))
			if part := want[from:min(from+used, len(want))]; !bytes.Equal(data[:len(part)], part) {
				t.Fatalf("seed %d: other bytes than those written at %d", seed, from)
			}
			at += int64(used)
			if used < len(data) || at >= base+int64(len(want)) {
				break
			}
			v.Ack(at)
		}
		v.Close()
	}
	t.Logf("%d of %d bytes lost to the ring", lost, len(want))
}

func TestResumeWithinTheRingLosesNothing(t *testing.T) {
	t.Parallel()
	path, want := stream(t, 900<<10)
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	base := r.at - int64(len(r.out))
	r.Close()
	r.typeln("cat " + path + "; exit")
	waitDone(t, term)
	for range 100 {
		from := rand.IntN(len(want))
		again := watch(t, term, base+int64(from))
		if _, lost := again.Start(); lost != 0 {
			t.Fatalf("lost %d", lost)
		}
		for len(again.out) < len(want)-from {
			if err := again.more(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.out[:len(want)-from], want[from:]) {
			t.Fatalf("other bytes than those written after %d", from)
		}
		if err := again.more(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
		again.Close()
	}
}

// With nobody looking a command runs to its end, and the ring tells what it could not keep.
func TestNobodyLooks(t *testing.T) {
	t.Parallel()
	path, want := stream(t, 5<<20)
	c := newDevice(t).config(t)
	c.Ring = 256 << 10
	term := open(t, c)
	r := quiet(t, term)
	base := r.at - int64(len(r.out))
	r.Close()
	r.typeln("cat " + path + "; exit 5")
	waitDone(t, term)
	if status, err := term.Exit(); status != 5 || err != nil {
		t.Errorf("exit %d, %v; want 5", status, err)
	}
	end := base + int64(len(want))
	for _, test := range []struct{ ask, start, lost int64 }{
		{-1, end - 256<<10, 0},
		{base, end - 256<<10, int64(len(want)) - 256<<10},
		{end - 100, end - 100, 0},
		{end, end, 0},
		{end + 1000, end, 0},
	} {
		v := term.View(test.ask)
		if start, lost := v.Start(); start != test.start || lost != test.lost {
			t.Errorf("View(%d) starts at %d having lost %d, want %d and %d", test.ask, start, lost, test.start, test.lost)
		}
		v.Close()
	}
	all := watch(t, term, -1)
	for err := error(nil); err != io.EOF; err = all.more() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(all.out, want[len(want)-256<<10:]) {
		t.Error("the ring does not hold the last bytes")
	}
}

func TestClosedViewer(t *testing.T) {
	t.Parallel()
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next without output: %v", err)
	}
	waiting := make(chan error)
	go func() {
		_, _, err := r.Next(context.WithoutCancel(ctx))
		waiting <- err
	}()
	r.Close()
	r.Close()
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("Next of a closed viewer: %v", err)
	}
	r.Ack(r.at)
}

func TestAck(t *testing.T) {
	t.Parallel()
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	r.typeln("echo something")
	data, offset, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reached := offset + int64(len(data))
	for _, test := range []struct{ ack, want int64 }{
		{offset - 1, offset}, {-5, offset}, {offset + 1, offset + 1}, {reached + 1<<40, reached}, {offset, reached},
	} {
		r.Ack(test.ack)
		term.mu.Lock()
		got := r.Viewer.read
		term.mu.Unlock()
		if got != test.want {
			t.Errorf("after Ack(%d) the viewer counts as having read up to %d, want %d", test.ack, got, test.want)
		}
	}
}
