package gate_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestUDP(t *testing.T) {
	t.Parallel()
	seen := make(chan netip.AddrPort, 64)
	at := serveUDP(t, 0, seen)
	u := newTunnel(t, engineIP, port("udp", at))
	first, second := u.mustDial(t, "udp", at), u.mustDial(t, "udp", at)
	a, b := <-seen, <-seen
	if a == b {
		t.Error("two flows have one socket of the device")
	}
	for _, size := range []int{1, 1400, 20000} {
		sent, got := make([]byte, size), make([]byte, 64<<10)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(sent)
		if _, err := first.Write(sent); err != nil {
			t.Fatal(err)
		}
		n, err := first.Read(got)
		if err != nil || !bytes.Equal(sent, got[:n]) {
			t.Errorf("%d bytes come back as %d, %v", size, n, err)
		}
		if from := <-seen; from != a {
			t.Errorf("a datagram of the first flow comes from %s, want %s", from, a)
		}
	}
	if err := ping(second, soon); err != nil {
		t.Error(err)
	}
}

func TestIdleUDPIsForgotten(t *testing.T) {
	t.Parallel()
	seen := make(chan netip.AddrPort, 64)
	at := serveUDP(t, 0, seen)
	u := newTunnel(t, engineIP, port("udp", at))
	u.gate.ForgetAfter(time.Millisecond)
	c, err := u.engine.DialUDP(t.Context(), netip.AddrPortFrom(agentIP, at))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	forgotten := func() bool { _, _, udp := u.gate.Flows(); return udp == 0 }
	for range 3 { // Forgetting is silent: the next datagram makes a new flow.
		if _, err := c.Write([]byte{1}); err != nil {
			t.Errorf("write: %v", err)
		}
		<-seen
		eventually(t, "the flow is forgotten", forgotten)
	}
}
