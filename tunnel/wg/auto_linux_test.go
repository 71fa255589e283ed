package wg_test

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"borealis/tunnel/wg"
)

// TestAutoChooses lets Open choose under different conditions.
func TestAutoChooses(t *testing.T) {
	hide := func(dir string, flags uintptr) func() error {
		return func() error { return unix.Mount("tmpfs", dir, "tmpfs", flags, "") }
	}
	for _, c := range []struct {
		name    string
		arrange func() error
		mode    wg.Mode // where the kernel has no WireGuard
		reason  string  // a part of it
		always  bool    // also where the kernel has WireGuard
	}{
		{"as root", func() error { return nil }, wg.TUN, "has no WireGuard", false},
		{"without TUN", hide("/dev/net", 0), wg.Netstack, "no TUN device", false},
		{"without a socket directory", hide("/run", unix.MS_RDONLY), wg.Netstack, "/var/run/wireguard", false},
		{"without privilege", dropPrivilege, wg.Netstack, "CAP_NET_ADMIN", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !insideTUN(t) {
				return
			}
			runtime.LockOSThread() // the thread may lose its privilege and is thrown away
			before := hostState(t)
			if err := c.arrange(); err != nil {
				t.Fatal(err)
			}
			i, err := wg.Open(t.Context(), wg.Config{
				PrivateKey: newKey(t), Address: engineIP, Route: pool,
				Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			if i.Mode() == wg.Kernel && !c.always && strings.Contains(i.Reason(), "has WireGuard") {
				return // as it should, on a kernel that has it
			}
			if i.Mode() != c.mode || !strings.Contains(i.Reason(), c.reason) {
				t.Errorf("mode %s, because: %s", i.Mode(), i.Reason())
			}
			t.Log(i.Reason())
			if i.Mode() == wg.Netstack {
				untouched(t, before)
			}
		})
	}
}

// dropPrivilege takes CAP_NET_ADMIN from the calling thread.
func dropPrivilege() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for _, set := range []*uint32{&data[0].Effective, &data[0].Permitted, &data[0].Inheritable} {
		*set &^= 1 << unix.CAP_NET_ADMIN
	}
	return unix.Capset(&header, &data[0])
}

// testWriter writes to a test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}
