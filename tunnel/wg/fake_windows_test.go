//go:build winetest

package wg

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/tailscale/wf"
	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"golang.zx2c4.com/wireguard/windows/tunnel/winipcfg"
)

// fake is a computer that does nothing but write down what is asked of it: of the test double of
// wireguard.dll, which .ci/wine/fakewg makes, of Windows' network, and of its filter. There is one
// double a process, so tests with a fake take turns.
type fake struct {
	t   *testing.T
	dll string

	mu       sync.Mutex
	lines    []string
	gone     func() // as watch got it
	unusable int    // times that the address is not usable yet
	booted   time.Duration
	refuse   map[string]error // what fails: firewall, connect, rule
	rules    map[wf.RuleID]*wf.Rule
	closed   bool // the filter
}

func newFake(t *testing.T) *fake {
	t.Helper()
	dll, err := filepath.Abs("../../.ci/out/fakewg/wireguard.dll")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, dll: dll, refuse: make(map[string]error), rules: make(map[wf.RuleID]*wf.Rule)}
	if err := load(dll); err != nil {
		t.Fatal(err)
	}
	f.call("FakeFailures", 0, 0)
	f.journal()
	return f
}

// call calls a function of the double. Only numbers and addresses that stay can be handed over.
func (f *fake) call(name string, args ...uintptr) uintptr {
	f.t.Helper()
	p := windows.NewLazyDLL(f.dll).NewProc(name)
	if err := p.Find(); err != nil {
		f.t.Fatal(err)
	}
	r, _, _ := p.Call(args...)
	return r
}

// journal returns what was asked since the last time.
func (f *fake) journal() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drainLocked()
	text := strings.Join(f.lines, "\n")
	f.lines = nil
	return text
}

// note writes down what was asked of Windows, after what the double was asked before.
func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drainLocked()
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
}

func (f *fake) drainLocked() {
	text := make([]byte, 1<<16)
	n := f.call("FakeJournal", uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	if n > 0 {
		f.lines = append(f.lines, strings.Split(strings.TrimSpace(string(text[:n])), "\n")...)
	}
}

// host is the fake's network.
func (f *fake) host() *host {
	return &host{
		sinceBoot: func() time.Duration { return f.booted },
		connect: func(luid winipcfg.LUID, c Config) error {
			f.note("windows: %s to %s on %x, MTU %d", c.Address, c.Route, uint64(luid), c.MTU)
			return f.refuse["connect"]
		},
		disconnect: func(luid winipcfg.LUID) error {
			f.note("windows: nothing on %x", uint64(luid))
			return nil
		},
		usable: func(winipcfg.LUID, netip.Addr) (bool, error) {
			f.unusable--
			if f.unusable >= 0 {
				return false, windows.ERROR_NOT_FOUND
			}
			return true, nil
		},
		watch: func(_ winipcfg.LUID, gone func()) (func() error, error) {
			f.note("windows: watch")
			f.gone = gone
			return func() error { f.note("windows: no watch"); return nil }, nil
		},
		firewall: func() (firewall, error) {
			if err := f.refuse["firewall"]; err != nil {
				return nil, err
			}
			f.note("windows: filter")
			f.closed = false
			return f, nil
		},
	}
}

// AddSublayer implements firewall.
func (f *fake) AddSublayer(l *wf.Sublayer) error {
	if l.ID.IsZero() || l.Weight != 0xffff || l.Persistent {
		f.t.Errorf("sublayer %+v", l)
	}
	return nil
}

// AddRule implements firewall.
func (f *fake) AddRule(r *wf.Rule) error {
	if err := f.refuse["rule"]; err != nil && r.Action == wf.ActionPermit {
		return err
	}
	if _, twice := f.rules[r.ID]; twice || r.ID.IsZero() || r.Sublayer.IsZero() || !r.HardAction || r.Persistent || r.BootTime {
		f.t.Errorf("rule %+v", r)
	}
	f.rules[r.ID] = r
	return nil
}

// DeleteRule implements firewall.
func (f *fake) DeleteRule(id wf.RuleID) error {
	if _, there := f.rules[id]; !there {
		return errNoRule
	}
	delete(f.rules, id)
	return nil
}

// Close implements firewall.
func (f *fake) Close() error {
	f.note("windows: no filter")
	f.closed = true
	clear(f.rules)
	return nil
}

// open opens an adapter on the fake, and closes it after the test.
func (f *fake) open() *Adapter {
	f.t.Helper()
	a, err := openAdapter(f.t.Context(), AdapterConfig{DLL: f.dll}, f.host())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return a
}

// le writes a number in little endian, of some bytes, in hexadecimal.
func le(n uint64, bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return hex.EncodeToString(b)
}

// configLine is what the double writes down when it is configured. The layout is that of
// WIREGUARD_INTERFACE in wireguard.h.
func configLine(flags uint64, key wgtypes.Key, peers ...string) string {
	const noPort, noPublicKey = 0, 0
	return "config " + le(flags, 4) + le(noPort, 2) + hex.EncodeToString(key[:]) + le(noPublicKey, 32) + le(0, 2) +
		le(uint64(len(peers)), 4) + le(0, 4) + strings.Join(peers, "")
}

// peerBytes are those of WIREGUARD_PEER, and of one WIREGUARD_ALLOWED_IP if there is one. The
// endpoint is a sockaddr_in.
func peerBytes(flags uint64, public, psk wgtypes.Key, keepalive uint64, endpoint netip.AddrPort, allowed netip.Addr) string {
	at, ip := le(0, 28), ""
	if endpoint.IsValid() {
		port := endpoint.Port()
		at = le(windows.AF_INET, 2) + fmt.Sprintf("%04x", port) + hex.EncodeToString(endpoint.Addr().AsSlice()) + le(0, 20)
	}
	count := uint64(0)
	if allowed.IsValid() {
		count = 1
		ip = hex.EncodeToString(allowed.AsSlice()) + le(0, 12) + le(windows.AF_INET, 2) + le(32, 1) + le(0, 5)
	}
	return le(flags, 4) + le(0, 4) + hex.EncodeToString(public[:]) + hex.EncodeToString(psk[:]) + le(keepalive, 2) + le(0, 2) +
		at + le(0, 24) + le(count, 4) + le(0, 4) + ip
}
