package wg_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"

	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

const socketPath = "/var/run/wireguard/borealis0.sock"

// insideTUN takes the test into namespaces where a TUN device can be made.
func insideTUN(t *testing.T) bool {
	t.Helper()
	if !nstest.Run(t) {
		return false
	}
	nstest.TUN(t)
	return true
}

func TestTUN(t *testing.T) {
	if insideTUN(t) {
		testBackend(t, wg.TUN)
	}
}

func TestTUNOnTheHost(t *testing.T) {
	if insideTUN(t) {
		testOnTheHost(t, wg.TUN)
	}
}

func TestTUNControlSocket(t *testing.T) {
	if !insideTUN(t) {
		return
	}
	i := open(t, wg.TUN, "borealis0", engineIP)
	info, err := os.Stat(socketPath)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("socket has mode %o, want 600", got)
	}
	if err := os.Remove(socketPath); err != nil {
		t.Fatal(err)
	}
	key := newKey(t).PublicKey()
	if err := i.AddPeer(wg.Peer{PublicKey: key, AllowedIP: agentIP}); err != nil {
		t.Errorf("add a peer after the socket was deleted: %v", err)
	}
	if got := strings.TrimSpace(run(t, "wg", "show", "borealis0", "peers")); got != key.String() {
		t.Errorf("wg shows peers %q, want %q", got, key)
	}
	idle, err := net.Dial("unix", socketPath)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := i.Close(); err != nil {
		t.Errorf("close while somebody is connected: %v", err)
	}
	if _, err := os.Stat(socketPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket file after close: %v, want none", err)
	}
}

// TestTUNStaleSocket opens where a killed process left its socket file.
func TestTUNStaleSocket(t *testing.T) {
	if !insideTUN(t) {
		return
	}
	if err := os.MkdirAll("/var/run/wireguard", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	config := wg.Config{Mode: wg.TUN, PrivateKey: newKey(t), Address: engineIP, Route: pool}
	before := hostState(t)
	if i, err := wg.Open(t.Context(), config); !errors.Is(err, wg.ErrForeignLink) {
		t.Errorf("open while another serves the socket: %v, %v; want %v", i, err, wg.ErrForeignLink)
	}
	untouched(t, before)
	l.Close()
	open(t, wg.TUN, "borealis0", engineIP)
	run(t, "wg", "show", "borealis0")
}

func TestTUNDeletedUnderneath(t *testing.T) {
	if insideTUN(t) {
		testDeletedUnderneath(t, wg.TUN)
	}
}

func TestTUNDownAndUp(t *testing.T) {
	if insideTUN(t) {
		testDownAndUp(t, wg.TUN)
	}
}

func TestTUNRefusals(t *testing.T) {
	if insideTUN(t) {
		testRefusals(t, wg.TUN)
	}
}

func TestTUNCyclesLeaveNothing(t *testing.T) {
	if insideTUN(t) {
		testCycles(t, wg.TUN)
	}
}

// TestTUNListenIsForTheTunnelOnly dials a listener from outside the tunnel.
func TestTUNListenIsForTheTunnelOnly(t *testing.T) {
	if insideTUN(t) {
		testListenIsForTheTunnelOnly(t, wg.TUN)
	}
}
