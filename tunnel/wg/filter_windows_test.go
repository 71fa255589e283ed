//go:build winetest

package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tailscale/wf"
	"golang.org/x/sys/windows"
)

var engine = netip.MustParseAddr("10.255.0.1")

// sight is what the filter of a fake has in force, in words, in order.
func (f *fake) sight() []string {
	layers := map[wf.LayerID]string{
		wf.LayerALEAuthRecvAcceptV4: "in v4", wf.LayerALEAuthRecvAcceptV6: "in v6",
		wf.LayerALEAuthConnectV4: "out v4", wf.LayerALEAuthConnectV6: "out v6",
	}
	fields := map[wf.FieldID]string{
		wf.FieldIPLocalInterface: "adapter", wf.FieldIPProtocol: "protocol",
		wf.FieldIPRemoteAddress: "from", wf.FieldIPLocalPort: "port",
	}
	var all []string
	for _, r := range f.rules {
		action := map[wf.Action]string{wf.ActionPermit: "permit", wf.ActionBlock: "block"}[r.Action]
		words := []string{action, fmt.Sprint(r.Weight), layers[r.Layer]}
		for _, c := range r.Conditions {
			if _, isRange := c.Value.(wf.Range); isRange != (c.Op == wf.MatchTypeRange) || !isRange && c.Op != wf.MatchTypeEqual {
				f.t.Errorf("condition %v", c)
			}
			words = append(words, fmt.Sprintf("%s=%v", fields[c.Field], c.Value))
		}
		all = append(all, strings.Join(words, " "))
	}
	slices.Sort(all)
	return all
}

// blocks are the rules that are always there.
func blocks(a *Adapter) []string {
	var all []string
	for _, layer := range []string{"in v4", "in v6", "out v4", "out v6"} {
		all = append(all, fmt.Sprintf("block 1 %s adapter=%d", layer, uint64(a.luid)))
	}
	return all
}

// permitted are the rules when something is let in.
func permitted(a *Adapter, permits []string) []string {
	want := blocks(a)
	for _, p := range permits {
		want = append(want, fmt.Sprintf("permit 2 in v4 adapter=%d protocol=%s", uint64(a.luid), p))
	}
	slices.Sort(want)
	return want
}

// TestNTAllow follows what is let in, from the adapter's start to its end.
func TestNTAllow(t *testing.T) {
	f := newFake(t)
	a := f.open()
	see := func(what string, permits ...string) {
		t.Helper()
		if diff := cmp.Diff(permitted(a, permits), f.sight()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", what, diff)
		}
	}
	see("between tunnels")
	i := openOn(t, a)
	see("nothing is allowed yet")
	allow := func(ports ...Allowed) {
		t.Helper()
		if err := i.Allow(engine, ports); err != nil {
			t.Fatal(err)
		}
	}
	rdp, shell, many := Allowed{"tcp", 3389, 3389}, Allowed{"tcp", 47002, 47002}, Allowed{"udp", 5900, 5910}
	allow(rdp, shell)
	see("two ports", "TCP from=10.255.0.1 port=3389", "TCP from=10.255.0.1 port=47002")
	before := f.idOf("port=3389")
	allow(rdp, many, rdp)
	see("another for one", "TCP from=10.255.0.1 port=3389", "UDP from=10.255.0.1 port={5900 5910}")
	if f.idOf("port=3389") != before {
		t.Error("a port that stays was taken away for a moment")
	}
	clear(f.rules) // Somebody else deletes them all.
	allow(many)
	if len(f.rules) != 0 {
		t.Errorf("a rule that was there came again: %v", f.sight())
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if err := i.Allow(engine, nil); err == nil {
		t.Error("a closed interface allows")
	}
	if err := a.Close(); err != nil || !f.closed {
		t.Errorf("the filter outlives the adapter: %v", err)
	}
}

// idOf returns the rule whose words have a part.
func (f *fake) idOf(part string) wf.RuleID {
	for id, r := range f.rules {
		for _, c := range r.Conditions {
			if fmt.Sprintf("port=%v", c.Value) == part {
				return id
			}
		}
	}
	f.t.Fatalf("no rule with %s", part)
	return wf.RuleID{}
}

// TestNTAllowCloses takes everything back when a tunnel closes, and when a part of it fails.
func TestNTAllowCloses(t *testing.T) {
	f := newFake(t)
	a := f.open()
	i := openOn(t, a)
	one := []Allowed{{"tcp", 3389, 3389}}
	two := append(one, Allowed{"tcp", 22, 22})
	for name, fails := range map[string]func() error{
		"windows refuses": func() error {
			f.refuse["rule"] = windows.ERROR_ACCESS_DENIED
			defer delete(f.refuse, "rule")
			return i.Allow(engine, two)
		},
		"no such protocol": func() error { return i.Allow(engine, append(one, Allowed{"icmp", 1, 1})) },
		"port 0":           func() error { return i.Allow(engine, append(one, Allowed{"udp", 0, 1})) },
		"wrong order":      func() error { return i.Allow(engine, append(one, Allowed{"udp", 2, 1})) },
		"from nobody":      func() error { return i.Allow(netip.Addr{}, one) },
		"from everybody":   func() error { return i.Allow(netip.IPv4Unspecified(), one) },
	} {
		if err := i.Allow(engine, one); err != nil {
			t.Fatal(err)
		}
		if err := fails(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if diff := cmp.Diff(blocks(a), f.sight()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	if err := i.Allow(engine, two); err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(blocks(a), f.sight()); diff != "" {
		t.Errorf("after the tunnel: (-want +got)\n%s", diff)
	}
}

// TestWindowsFilter opens the filter of Windows itself. Wine has none, and the error of an adapter
// says so; on Windows this needs an administrator.
func TestWindowsFilter(t *testing.T) {
	f := newFake(t)
	_, err := OpenAdapter(t.Context(), AdapterConfig{DLL: f.dll})
	if err == nil || !strings.Contains(err.Error(), "filter the adapter") {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		t.Error("the driver was not even asked")
	}
}
