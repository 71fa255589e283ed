package wg_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"borealis/tunnel/wg"
)

func testFlows(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	other := open(t, wg.Netstack, "agent1", otherIP)
	psk := newPSK(t)
	admit(t, engine, other, otherIP, psk)
	call(t, other, engine, psk)
	receive(t, agent, echo)
	receive(t, other, echo)
	check := func(when string, want ...wg.Flow) {
		t.Helper()
		got, err := engine.Flows(agentIP)
		if err != nil {
			t.Fatal(err)
		}
		sorted := cmpopts.SortSlices(func(a, b wg.Flow) bool { return a.Protocol < b.Protocol })
		if diff := cmp.Diff(want, got, sorted, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before the first")
	tcp, udp := wg.Flow{Protocol: "tcp", Port: openPort}, wg.Flow{Protocol: "udp", Port: openPort}
	first, second := dial(t, engine, at(openPort)), dial(t, engine, at(openPort))
	dial(t, engine, netip.AddrPortFrom(otherIP, openPort))
	socket := dialUDP(t, engine, at(openPort))
	for _, c := range []net.Conn{first, second, socket} {
		if err := ping(c, soon); err != nil {
			t.Fatal(err)
		}
	}
	check("three are open", tcp, tcp, udp)
	if _, err := engine.DialTCP(within(t, soon), at(closedPort)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a closed port: %v", err)
	}
	check("a refusal", tcp, tcp, udp)
	first.Close()
	socket.Close()
	check("one is left", tcp)
	if got, err := engine.Flows(addressOf(0)); err != nil || len(got) != 0 {
		t.Errorf("flows to nobody: %v, %v", got, err)
	}
}
