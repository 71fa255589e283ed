package terminal

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// turns counts how often one end spoke after it had heard the other.
type turns struct {
	heard atomic.Bool
	count atomic.Int32
}

// distant returns a connection to the device that takes trip there and back, and its near end's turns.
func (d *device) distant(t testing.TB, trip time.Duration) (net.Conn, *turns) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mid, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	var carrying sync.WaitGroup
	var spoken turns
	spoken.heard.Store(true)
	carrying.Go(func() {
		carry(far, mid, trip/2, func() {
			if spoken.heard.Swap(false) {
				spoken.count.Add(1)
			}
		})
	})
	carrying.Go(func() { carry(mid, far, trip/2, func() { spoken.heard.Store(true) }) })
	t.Cleanup(func() {
		near.Close()
		carrying.Wait()
	})
	return near, &spoken
}

// carry copies from one connection to another, each byte late by delay, and closes both at the end.
// It calls arrived before it passes bytes on.
func carry(to, from net.Conn, delay time.Duration, arrived func()) {
	type parcel struct {
		due  time.Time
		data []byte
	}
	parcels := make(chan parcel, 10_000)
	go func() {
		defer close(parcels)
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				parcels <- parcel{time.Now().Add(delay), bytes.Clone(buf[:n])}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range parcels {
		<-time.After(time.Until(p.due))
		arrived()
		_, _ = to.Write(p.data)
	}
	to.Close()
	from.Close()
}

// Signing in costs six round trips or so, the channel one, and the shell with all its requests one.
func TestOpenCostsFewRoundTrips(t *testing.T) {
	t.Parallel()
	const trip = 20 * time.Millisecond
	d := newDevice(t)
	c := d.config(t)
	c.Conn.Close()
	var near *turns
	c.Conn, near = d.distant(t, trip)
	c.Env = map[string]string{"BOREALIS_A": "1", "BOREALIS_B": "2", "BOREALIS_C": "3", "BOREALIS_D": "4"}
	term := open(t, c)
	r := watch(t, term, -1)
	if err := r.more(); err != nil {
		t.Fatal(err)
	}
	if n := near.count.Load(); n > 10 {
		t.Errorf("the engine spoke %d times before the prompt", n)
	}
	if term.trip < trip {
		t.Errorf("the way to the device takes %v, measured as %v", trip, term.trip)
	}
}
