package netfilter

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"borealis/acl"
	"borealis/tunnel/wg/nstest"
)

// TestConcurrentUse sets, checks and reads from many goroutines, and closes under them.
func TestConcurrentUse(t *testing.T) {
	if !inside(t) {
		return
	}
	f, events := start(t, Config{})
	use := func(n byte) error {
		addr := netip.AddrFrom4([4]byte{10, 255, n, n})
		for i := range 5 {
			plan := maps.Clone(goldenPlan())
			plan[addr] = []acl.Port{tcp(uint16(i+1), uint16(i+1))}
			_, counted := f.Counters(t.Context(), device)
			if counted != nil && strings.Contains(counted.Error(), "no such address") {
				counted = nil
			}
			if err := errors.Join(f.Set(t.Context(), plan), f.Check(t.Context()), f.Healthy(), counted); err != nil {
				return err
			}
		}
		return nil
	}
	var work sync.WaitGroup
	for n := range byte(4) {
		work.Go(func() {
			if err := use(n); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	set(t, f, goldenPlan())
	equal(t, "rules", text(rules4(f.config, goldenPlan())), ownLines(saved(t, "iptables-nft")))
	for range 2 {
		work.Go(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			if err := f.Set(t.Context(), nil); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if got := ownLines(saved(t, "iptables-nft")); got != "" {
		t.Errorf("after close:\n%s", got)
	}
	select {
	case e := <-events:
		t.Errorf("event %+v", e)
	default:
	}
}

// manyUsers reports whether this namespace has users besides its root: an ordinary
// user's has not, and the kernel takes no rule about users that there cannot be.
func manyUsers(t *testing.T) bool {
	t.Helper()
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(ids))
	return len(words) >= 3 && words[2] != "1"
}

// TestPrivilege opens as an ordinary user, with no capability and with the one that it takes.
func TestPrivilege(t *testing.T) {
	if !inside(t) {
		return
	}
	if !manyUsers(t) {
		nstest.Skip(t, "there is only one user here")
	}
	for _, c := range []struct {
		caps []uintptr
		says string
	}{
		{nil, "run as root or with CAP_NET_ADMIN"},
		{[]uintptr{unix.CAP_NET_ADMIN}, ""},
	} {
		cmd := self("steps", "")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: c.caps}
		out, err := cmd.CombinedOutput()
		if (err == nil) != (c.says == "") || !strings.Contains(string(out), c.says) {
			t.Errorf("with capabilities %v: %v: %s", c.caps, err, out)
		}
		if got := ownLines(saved(t, "iptables-nft") + saved(t, "ip6tables-nft")); got != "" {
			t.Errorf("with capabilities %v there is still\n%s", c.caps, got)
		}
	}
}
