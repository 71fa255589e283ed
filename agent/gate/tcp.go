package gate

import (
	"context"
	"io"
	"net"
	"sync"

	"borealis/tunnel/wg"
)

// copyBuffer is what one direction of a connection holds at most.
const copyBuffer = 32 << 10

// arriveTCP answers a connection that somebody wants to open. It has a goroutine of
// its own, until the connection ends.
func (g *Gate) arriveTCP(a *wg.Arrival) {
	f, ctx := g.admit(tcp, a.From, a.To.Port(), a.Refuse)
	if f == nil {
		a.Refuse()
		return
	}
	defer g.leave(f)
	if f.isShell() {
		g.serveShell(ctx, f, a)
	} else {
		g.forward(ctx, f, a)
	}
}

// forward joins a connection of the engine to a port of the device. The engine's is
// completed only when the device's is there, so the engine sees what the device says.
func (g *Gate) forward(ctx context.Context, f *flow, a *wg.Arrival) {
	c, err := dial(ctx, "tcp4", f.port)
	if err != nil {
		a.Refuse()
		return
	}
	device := c.(*net.TCPConn)
	defer func() { _ = device.Close() }()
	defer context.AfterFunc(ctx, func() { reset(device) })()
	engine, err := a.Accept(ctx)
	if err != nil {
		reset(device)
		return
	}
	defer engine.Close()
	g.open(f)
	join(engine.(conn), device)
}

// conn is what both ends of a connection can do.
type conn interface {
	net.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// reset closes a connection so that the other end sees that something is wrong.
func reset(c conn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// join copies both ways until both have ended.
func join(a, b conn) {
	var back sync.WaitGroup
	back.Go(func() { carry(a, b) })
	carry(b, a)
	back.Wait()
}

// carry copies one way. The end of what comes is passed on as such, and anything that
// goes wrong as a reset, both ways.
func carry(to, from conn) {
	// Only Read and Write: what else the two can do copies through smaller buffers.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, copyBuffer))
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		reset(to)
		reset(from)
	}
}
