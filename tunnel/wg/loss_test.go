package wg_test

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"borealis/tunnel/wg"
)

// lossyLine makes a line that agents reach an engine over, and returns where it begins. It loses the packets that
// lose chooses, which is asked about one at a time; up is to the engine. The line is gone when the test is.
func lossyLine(t *testing.T, engine netip.AddrPort, lose func(packet []byte, up bool) bool) netip.AddrPort {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(engine))
	if err != nil {
		t.Fatal(err)
	}
	var choosing sync.Mutex
	carry := func(from *net.UDPConn, up bool, on func(packet []byte, from netip.AddrPort)) {
		b := make([]byte, 1<<16)
		for {
			n, at, err := from.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			choosing.Lock()
			lost := lose(b[:n], up)
			choosing.Unlock()
			if !lost {
				on(b[:n], at)
			}
		}
	}
	var agent atomic.Pointer[netip.AddrPort]
	var ends sync.WaitGroup
	ends.Go(func() {
		carry(front, true, func(p []byte, from netip.AddrPort) {
			agent.Store(&from)
			_, _ = back.Write(p)
		})
	})
	ends.Go(func() {
		carry(back, false, func(p []byte, _ netip.AddrPort) { _, _ = front.WriteToUDPAddrPort(p, *agent.Load()) })
	})
	t.Cleanup(func() {
		front.Close()
		back.Close()
		ends.Wait()
	})
	return front.LocalAddr().(*net.UDPAddr).AddrPort()
}

// join makes an agent with an address that reaches engine over a line.
func join(t *testing.T, engine *wg.Interface, ip netip.Addr, lose func(packet []byte, up bool) bool) *wg.Interface {
	t.Helper()
	agent := open(t, wg.Netstack, "agent0", ip)
	psk := newPSK(t)
	admit(t, engine, agent, ip, psk)
	callAt(t, agent, engine, lossyLine(t, endpointOf(engine), lose), psk)
	return agent
}

// TestLossyLines moves data to and fro over lines that lose two packets of a hundred.
func TestLossyLines(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	engine := open(t, wg.Netstack, "engine0", engineIP)
	var transfers errgroup.Group
	for n := range 4 {
		chance := rand.New(rand.NewPCG(uint64(n), 2))
		agent := join(t, engine, addressOf(n), func([]byte, bool) bool { return chance.IntN(100) < 2 })
		at := serve(t, agent, addressOf(n), echo)
		transfers.Go(func() error { return returned(within(t, 2*soon), engine, at, byte(n), size) })
	}
	if err := transfers.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSilentLine cuts a line in the middle of a connection, and waits for as many attempts of one
// end to repeat itself as do not happen soon when each waits twice as long as the one before.
func TestSilentLine(t *testing.T) {
	t.Parallel()
	const attempts = 11
	engine := open(t, wg.Netstack, "engine0", engineIP)
	var cut atomic.Bool
	enough := make(chan struct{})
	seen := 0
	agent := join(t, engine, agentIP, func(p []byte, up bool) bool {
		if !cut.Load() {
			return false
		}
		// WireGuard's data, message type 4, with more in it than a keepalive has, which is 32 bytes.
		if !up && p[0] == 4 && len(p) > 32 {
			if seen++; seen == attempts {
				close(enough)
			}
		}
		return true
	})
	c := dial(t, engine, serve(t, agent, agentIP, echo))
	if err := ping(c, soon); err != nil {
		t.Fatal(err)
	}
	cut.Store(true)
	if _, err := c.Write([]byte("unheard")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-enough:
	case <-time.After(soon):
		t.Error("the connection hardly tries any more")
	}
	cut.Store(false)
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len("unheard"))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != "unheard" {
		t.Errorf("the line is back, and the connection has %q, %v", back, err)
	}
}
