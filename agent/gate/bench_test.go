//go:build linux

package gate_test

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// ways are the ways of a connection: to a listener of the network stack, without a gate;
// through the gate to the shell's listener; and through it to a port of the device.
func ways(b *testing.B, handle func(net.Conn), run func(b *testing.B, u *tunnel, to netip.AddrPort)) {
	device := serve(b, 0, func(c *net.TCPConn) { handle(struct{ net.Conn }{c}) })
	u := newTunnel(b, engineIP, port("tcp", device), port("tcp", wire.ShellPort))
	stack, err := u.agent.ListenTCP(netip.AddrPortFrom(agentIP, 0))
	if err != nil {
		b.Fatal(err)
	}
	defer stack.Close()
	for _, l := range []net.Listener{stack, u.gate.Shell()} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { handle(c); c.Close() }()
			}
		}()
	}
	for _, way := range []struct {
		name string
		port uint16
	}{
		{"listener", stack.Addr().(*net.TCPAddr).AddrPort().Port()}, {"shell", wire.ShellPort}, {"device", device},
	} {
		b.Run(way.name, func(b *testing.B) { run(b, u, netip.AddrPortFrom(agentIP, way.port)) })
	}
}

func sendBack(c net.Conn) { _, _ = io.Copy(c, c) }

// BenchmarkEcho is one key and its echo.
func BenchmarkEcho(b *testing.B) {
	ways(b, sendBack, func(b *testing.B, u *tunnel, to netip.AddrPort) {
		c := u.mustDial(b, "tcp", to.Port())
		for b.Loop() {
			if err := ping(c, soon); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTransfer is a stream of the engine's to the other end.
func BenchmarkTransfer(b *testing.B) {
	const size = 1 << 20
	ways(b, func(c net.Conn) { _, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, size)) },
		func(b *testing.B, u *tunnel, to netip.AddrPort) {
			c := u.mustDial(b, "tcp", to.Port())
			b.SetBytes(size)
			data := make([]byte, size)
			for b.Loop() {
				if _, err := c.Write(data); err != nil {
					b.Fatal(err)
				}
			}
		})
}

// BenchmarkConnect is a connection and its first echo.
func BenchmarkConnect(b *testing.B) {
	ways(b, sendBack, func(b *testing.B, u *tunnel, to netip.AddrPort) {
		for b.Loop() {
			c, err := u.engine.DialTCP(b.Context(), to)
			if err == nil {
				err = ping(c, soon)
			}
			if err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
}

// BenchmarkSet closes a port with a flow and opens it again.
func BenchmarkSet(b *testing.B) {
	at := serve(b, 0, echo)
	allowed := []token.Port{port("tcp", at)}
	u := newTunnel(b, engineIP)
	revision := int64(0)
	set := func(ports []token.Port) {
		revision++
		if err := u.gate.Set(revision, ports); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		b.StopTimer()
		set(allowed)
		c := u.mustDial(b, "tcp", at)
		b.StartTimer()
		set(nil)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			b.Fatal("it goes on")
		}
	}
}
