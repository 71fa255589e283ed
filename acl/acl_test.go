package acl

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	for os, want := range map[string][]string{
		"windows": {"47002/tcp", "3389/tcp", "3389/udp", "5985/tcp", "5986/tcp", "5900/tcp", "3478/udp"},
		"linux":   {"47002/tcp", "5900/tcp", "3478/udp", "22/tcp"},
		"plan9":   {"5900/tcp", "3478/udp"},
	} {
		var got []string
		for _, p := range Defaults(os) {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", os, diff)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParseAddr("10.255.0.2"), netip.MustParseAddr("10.255.0.3")
	var g Guard
	if err := g.Check(TCP, netip.AddrPortFrom(a, 22)); !errors.Is(err, ErrRefused) {
		t.Fatalf("an empty guard answered %v", err)
	}
	plan := Plan{a: {{Protocol: TCP, From: 5000, To: 5010}, {Protocol: UDP, From: 3478, To: 3478}}}
	if err := g.Set(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	plan[b] = []Port{{Protocol: TCP, From: 1, To: 65535}} // the guard keeps its own copy
	for _, c := range []struct {
		protocol string
		to       netip.AddrPort
		open     bool
	}{
		{TCP, netip.AddrPortFrom(a, 4999), false},
		{TCP, netip.AddrPortFrom(a, 5000), true},
		{TCP, netip.AddrPortFrom(a, 5010), true},
		{TCP, netip.AddrPortFrom(a, 5011), false},
		{UDP, netip.AddrPortFrom(a, 5005), false},
		{UDP, netip.AddrPortFrom(a, 3478), true},
		{TCP, netip.AddrPortFrom(b, 5000), false},
	} {
		if err := g.Check(c.protocol, c.to); (err == nil) != c.open {
			t.Errorf("%s %s: %v, want open %v", c.protocol, c.to, err, c.open)
		}
	}
	if err := g.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Check(TCP, netip.AddrPortFrom(a, 5000)); !errors.Is(err, ErrRefused) {
		t.Fatalf("after the plan was emptied: %v", err)
	}
}
