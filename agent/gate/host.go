package gate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// acceptAgain is after how long a listener of the host that fails is asked again.
const acceptAgain = 100 * time.Millisecond

// filter makes ports all that an address reaches on this host through the tunnel, as
// [wg.Interface.Allow] does.
type filter func(from netip.Addr, ports []wg.Allowed) error

// guardHost puts the gate up on a host that answers for its ports itself: behind a
// filter, with a listener for the shell.
func (g *Gate) guardHost(f filter, listen func() (net.Listener, error)) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	l, err := listen()
	if err != nil {
		return err
	}
	g.mu.Lock()
	ports := g.ports
	g.mu.Unlock()
	g.filter = f
	if err := g.allowSetting(ports); err != nil {
		g.filter = nil
		return errors.Join(err, l.Close())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.Join(net.ErrClosed, l.Close(), g.allowSetting(nil))
	}
	g.host = l
	g.running.Go(func() { g.acceptShells(l) })
	return nil
}

// allowSetting tells the filter, if there is one, what is allowed. Setting is held.
func (g *Gate) allowSetting(ports []token.Port) error {
	if g.filter == nil {
		return nil
	}
	allowed := make([]wg.Allowed, len(ports))
	for n, p := range ports {
		allowed[n] = wg.Allowed{Protocol: p.Protocol, From: p.From, To: p.To}
	}
	if err := g.filter(g.engine, allowed); err != nil {
		return fmt.Errorf("set the filter: %w", err)
	}
	return nil
}

// acceptShells takes what the host lets through to the shell's port, until its listener
// is closed.
func (g *Gate) acceptShells(l net.Listener) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			g.running.Go(func() { g.arriveShell(c.(*net.TCPConn)) })
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		g.log.Warn("gate_accept", "err", err)
		again := time.NewTimer(acceptAgain)
		select {
		case <-again.C:
		case <-g.shell.done:
			again.Stop()
			return
		}
	}
}

// arriveShell answers a connection to the shell that the host has accepted.
func (g *Gate) arriveShell(c *net.TCPConn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	refuse := func() { reset(c) }
	f, ctx := g.admit(tcp, from, wire.ShellPort, refuse)
	if f == nil {
		refuse()
		return
	}
	defer g.leave(f)
	g.open(f)
	g.handOver(ctx, f, c)
}
