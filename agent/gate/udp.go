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
	f, ctx := g.admit(udp, a.From, a.To.Port(), a.Refuse)
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
		f.refuse()
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
		refuseAfter(fromDevice, f)
	})
	_, toDevice := relay(device, engine, active)
	refuseAfter(toDevice, f)
	hangUp()
	back.Wait()
}

// refuseAfter refuses a flow that the device has refused, by what came of reading
// from it or writing to it.
func refuseAfter(err error, f *flow) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		f.refuse()
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
		if errors.Is(err, net.ErrClosed) || isRefusal(err) {
			return nil, err
		}
	}
}

// isRefusal reports whether the other end refuses datagrams. Windows has numbers of its own for
// that, one for what a router says too.
func isRefusal(err error) bool {
	const wsaConnectionReset, wsaConnectionRefused = syscall.Errno(10054), syscall.Errno(10061)
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnectionReset) || errors.Is(err, wsaConnectionRefused)
}
