package gate

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"borealis/tunnel/wg"
)

// maxDatagram is the longest there is.
const maxDatagram = 64 << 10

// arriveUDP answers the first datagram of a flow, at once.
func (g *Gate) arriveUDP(a *wg.Arrival) {
	f, ctx := g.admit(udp, a)
	if f == nil {
		a.Refuse()
		return
	}
	engine, err := a.Accept(ctx)
	if err != nil {
		g.leave(f)
		return
	}
	go func() { // Close waits for it.
		defer g.leave(f)
		g.exchange(ctx, f, engine)
	}()
}

// exchange carries the datagrams of a flow both ways, until it is idle. When the
// device refuses them, the engine is told.
func (g *Gate) exchange(ctx context.Context, f *flow, engine net.Conn) {
	defer engine.Close()
	device, err := dial(ctx, "udp4", f.port)
	if err != nil {
		f.arrival.Refuse()
		return
	}
	defer device.Close()
	hangUp := func() { engine.Close(); device.Close() }
	defer context.AfterFunc(ctx, hangUp)()
	idle := time.AfterFunc(g.idle, hangUp)
	defer idle.Stop()
	active := func() { idle.Reset(g.idle) }

	var back sync.WaitGroup
	back.Go(func() {
		defer hangUp()
		fromDevice, _ := relay(engine, device, active)
		refuseAfter(fromDevice, f.arrival)
	})
	_, toDevice := relay(device, engine, active)
	refuseAfter(toDevice, f.arrival)
	hangUp()
	back.Wait()
}

// refuseAfter refuses a flow that the device has refused, by what came of reading
// from it or writing to it.
func refuseAfter(err error, a *wg.Arrival) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		a.Refuse()
	}
}

// relay copies datagrams one way until an end is closed or refuses. One that cannot
// be sent for another reason is lost, as datagrams are.
func relay(to, from net.Conn, active func()) (readErr, writeErr error) {
	datagram := make([]byte, maxDatagram)
	for {
		n, err := from.Read(datagram)
		if err != nil {
			return err, nil
		}
		active()
		_, err = to.Write(datagram[:n])
		if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
	}
}
