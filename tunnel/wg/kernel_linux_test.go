//go:build kernel

package wg_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// insideKernel takes the test into namespaces where the kernel makes WireGuard links.
func insideKernel(t *testing.T) bool {
	t.Helper()
	if !nstest.Run(t) {
		return false
	}
	link := leftOver(t, "probe0")
	if link == nil {
		t.Fatal("this kernel has no WireGuard; make test-kernel runs one that has")
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	return true
}

// leftOver adds a WireGuard link as a killed process leaves it, or returns nil if the kernel
// knows no such thing.
func leftOver(t *testing.T, name string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Wireguard{LinkAttrs: attrs}
	err := netlink.LinkAdd(link)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestKernel(t *testing.T) {
	if insideKernel(t) {
		testBackend(t, wg.Kernel)
	}
}

func TestKernelOnTheHost(t *testing.T) {
	if insideKernel(t) {
		testOnTheHost(t, wg.Kernel)
	}
}

func TestKernelDeletedUnderneath(t *testing.T) {
	if insideKernel(t) {
		testDeletedUnderneath(t, wg.Kernel)
	}
}

func TestKernelDownAndUp(t *testing.T) {
	if insideKernel(t) {
		testDownAndUp(t, wg.Kernel)
	}
}

func TestKernelRefusals(t *testing.T) {
	if insideKernel(t) {
		testRefusals(t, wg.Kernel)
	}
}

func TestKernelCyclesLeaveNothing(t *testing.T) {
	if insideKernel(t) {
		testCycles(t, wg.Kernel)
	}
}

func TestKernelListenIsForTheTunnelOnly(t *testing.T) {
	if insideKernel(t) {
		testListenIsForTheTunnelOnly(t, wg.Kernel)
	}
}

func TestKernelRepairHost(t *testing.T) {
	if insideKernel(t) {
		testRepairHost(t, wg.Kernel)
	}
}

func TestKernelRepairLeavesOthers(t *testing.T) {
	if insideKernel(t) {
		testRepairLeavesOthers(t, wg.Kernel)
	}
}

func TestKernelRenamed(t *testing.T) {
	if insideKernel(t) {
		testRenamed(t, wg.Kernel)
	}
}

func TestKernelMovedAway(t *testing.T) {
	if insideKernel(t) {
		testMovedAway(t, wg.Kernel)
	}
}

// TestKernelRepairPortTakenWhileDown takes the UDP port while the link, and its socket, are down.
func TestKernelRepairPortTakenWhileDown(t *testing.T) {
	if !insideKernel(t) {
		return
	}
	engine, agent := pair(t, wg.Kernel)
	at := serve(t, agent, agentIP, echo)
	run(t, "ip", "link", "set", "engine0", "down")
	taken, err := net.ListenPacket("udp", fmt.Sprintf(":%d", engine.ListenPort()))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for range 3 {
		if got, err := engine.Repair(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("repaired %q, %v; want %v", got, err, syscall.EADDRINUSE)
		}
	}
	taken.Close()
	if _, err := engine.Repair(); err != nil {
		t.Fatal(err)
	}
	if err := ping(dial(t, engine, at), soon); err != nil {
		t.Error(err)
	}
}

// TestKernelLeftOver opens where a killed engine left its link.
func TestKernelLeftOver(t *testing.T) {
	if !insideKernel(t) {
		return
	}
	for _, mode := range []wg.Mode{wg.Kernel, wg.TUN} {
		t.Run(string(mode), func(t *testing.T) {
			old := leftOver(t, "borealis0")
			i := open(t, mode, "borealis0", engineIP)
			link, err := netlink.LinkByName("borealis0")
			if err != nil {
				t.Fatal(err)
			}
			if link.Attrs().Index == old.Attrs().Index {
				t.Error("the left-over link is still there")
			}
			peers, err := i.Peers()
			if err != nil || len(peers) != 0 {
				t.Errorf("peers are %v, %v; want none", peers, err)
			}
		})
	}
}

func TestKernelIsWhatAutoChooses(t *testing.T) {
	if !insideKernel(t) {
		return
	}
	i := open(t, wg.Auto, "borealis0", engineIP)
	if i.Mode() != wg.Kernel || !strings.Contains(i.Reason(), "has WireGuard") {
		t.Errorf("mode %s, because: %s", i.Mode(), i.Reason())
	}
}
