package shell

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// delivery is a chunk and when it came.
type delivery struct {
	Size  int
	After time.Duration
}

func TestOutputPacing(t *testing.T) {
	t.Parallel()
	type write struct {
		after time.Duration // since the write before
		size  int
	}
	for name, test := range map[string]struct {
		writes []write
		want   []delivery
	}{
		"keys go at once": {
			writes: []write{{0, 1}, {time.Millisecond, 1}, {time.Millisecond, 3}},
			want:   []delivery{{1, 0}, {1, time.Millisecond}, {3, 2 * time.Millisecond}},
		},
		"a flood fills packets": {
			writes: []write{{0, 4096}, {100 * time.Microsecond, 16384}, {100 * time.Microsecond, 16384}},
			want:   []delivery{{4096, 0}, {32768, 200 * time.Microsecond}},
		},
		"a flood that ebbs waits for coalesce at most": {
			writes: []write{{0, 4096}, {time.Millisecond, 100}},
			want:   []delivery{{4096, 0}, {100, time.Millisecond + coalesce}},
		},
		"a key long after a flood goes at once": {
			writes: []write{{0, 4096}, {time.Second, 1}},
			want:   []delivery{{4096, 0}, {1, time.Second}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOutput()
				begun := time.Now()
				go func() {
					for _, w := range test.writes {
						<-time.After(w.after)
						o.room()
						o.add(make([]byte, w.size))
					}
					<-time.After(time.Hour)
					o.end()
				}()
				var got []delivery
				for chunk := o.next(nil); len(chunk) > 0; chunk = o.next(chunk) {
					got = append(got, delivery{len(chunk), time.Since(begun)})
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error("(-want +got)", diff)
				}
			})
		})
	}
}

func TestOutputCredit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutput()
		o.setLimit(10)
		rooms := make(chan int, 10)
		fill := func() {
			n := o.room()
			rooms <- n
			o.add(make([]byte, n))
		}
		go fill()
		synctest.Wait()
		go fill() // waits: the credit is used up
		synctest.Wait()
		if got := len(rooms); got != 1 {
			t.Fatalf("%d reads with the credit of one", got)
		}
		o.setLimit(5) // less than was taken
		synctest.Wait()
		o.setLimit(14)
		synctest.Wait()
		if first, second := <-rooms, <-rooms; first != 10 || second != 4 {
			t.Errorf("room for %d and %d, want 10 and 4", first, second)
		}
		go fill()
		synctest.Wait()
		if len(rooms) != 0 {
			t.Fatal("read without credit")
		}
		o.drop() // what nobody wants needs no credit
		synctest.Wait()
		if got := <-rooms; got != packet {
			t.Errorf("room for %d once dropped, want %d", got, packet)
		}
		if chunk := o.next(nil); chunk != nil {
			t.Errorf("%d bytes from an output that was dropped", len(chunk))
		}
	})
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutput()
		var filled int
		go func() {
			for range 4 {
				n := o.room()
				o.add(bytes.Repeat([]byte{'x'}, n))
				filled += n
			}
			o.end()
		}()
		synctest.Wait()
		if filled != packet {
			t.Fatalf("%d bytes held for a reader that does not read, want %d", filled, packet)
		}
		total := 0
		for chunk := o.next(nil); len(chunk) > 0; chunk = o.next(chunk) {
			total += len(chunk)
		}
		if total != 4*packet {
			t.Errorf("%d bytes came through, want %d", total, 4*packet)
		}
	})
}
