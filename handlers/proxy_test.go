package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"borealis/store"
)

func TestProxies(t *testing.T) {
	t.Parallel()
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no header", "10.0.0.1", nil, "10.0.0.1"},
		{"one hop", "10.0.0.1", []string{"192.0.2.9"}, "192.0.2.9"},
		{"spaces", "10.0.0.1", []string{" \t192.0.2.9 "}, "192.0.2.9"},
		{"a stranger says so", "192.0.2.1", []string{"192.0.2.9"}, "192.0.2.1"},
		{"a stranger behind a proxy says so", "10.0.0.1", []string{"198.51.100.1, 192.0.2.9"}, "192.0.2.9"},
		{"a stranger calls itself a proxy", "10.0.0.1", []string{"10.0.0.7, 192.0.2.9"}, "192.0.2.9"},
		{"two proxies", "10.0.0.1", []string{"198.51.100.1, 192.0.2.9, 10.0.0.2"}, "192.0.2.9"},
		{"two headers", "10.0.0.1", []string{"198.51.100.1", "192.0.2.9, 10.0.0.2"}, "192.0.2.9"},
		{"the second header is the stranger's", "10.0.0.1", []string{"192.0.2.9", "198.51.100.1"}, "198.51.100.1"},
		{"proxies all the way", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"IPv6", "2001:db8:1::5", []string{"2001:db8:2::9"}, "2001:db8:2::9"},
		{"IPv6 outside", "2001:db8:2::5", []string{"192.0.2.9"}, "2001:db8:2::5"},
		{"IPv4 in IPv6", "10.0.0.1", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		{"with a zone", "10.0.0.1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"with a port", "10.0.0.1", []string{"192.0.2.9:1234"}, "10.0.0.1"},
		{"a name", "10.0.0.1", []string{"localhost"}, "10.0.0.1"},
		{"empty", "10.0.0.1", []string{""}, "10.0.0.1"},
		{"an empty end", "10.0.0.1", []string{"192.0.2.9,"}, "10.0.0.1"},
		{"rubbish before what counts", "10.0.0.1", []string{"'; DROP, 192.0.2.9"}, "192.0.2.9"},
		{"rubbish where it counts", "10.0.0.1", []string{"192.0.2.9, '; DROP"}, "10.0.0.1"},
		{"octal", "10.0.0.1", []string{"010.0.0.9"}, "10.0.0.1"},
		{"unknown", "10.0.0.1", []string{"unknown"}, "10.0.0.1"},
	} {
		h := http.Header{forwardedFor: c.forwarded, "X-Real-Ip": {"203.0.113.1"}, "True-Client-Ip": {"203.0.113.1"}, "Forwarded": {"for=203.0.113.1"}}
		if got := trusted.client(netip.MustParseAddr(c.remote), h); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestProxyPenalties: what counts for penalties, records and sessions is the address
// that a trusted proxy names, and only a trusted one.
func TestProxyPenalties(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		want := "127.0.0.1"
		r := newRigWith(t, func(c *Config) {
			if trusted {
				want = "192.0.2.9"
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		r.person("ann")
		c := r.stranger()
		headers := []string{forwardedFor, "203.0.113.5, 192.0.2.9", "X-Real-IP", "203.0.113.7"}
		if a := c.post("/login", signInForm("ann", "wrong", ""), headers...); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if _, owing := r.sources.owing[want]; !owing || len(r.sources.owing) != 1 {
			t.Errorf("trusted %v: penalties are for %v", trusted, r.sources.owing)
		}
		a := c.post("/login", signInForm("ann", testPassword, ""), headers...)
		session, _, err := r.store.SessionByHash(t.Context(), HashSecret(a.Cookies()[0].Value))
		if err != nil || session.RemoteAddr != want {
			t.Errorf("trusted %v: the session is from %q, %v", trusted, session.RemoteAddr, err)
		}
		for _, kind := range []string{"sign_in_failed", "signed_in"} {
			lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: kind})
			if err != nil || len(lines) != 1 || lines[0].Source != want {
				t.Errorf("trusted %v: %s is on record as %+v, %v", trusted, kind, lines, err)
			}
		}
	}
}

// TestAgentsAreNotProxied: an agent's TLS ends at the engine, so nobody speaks for it.
func TestAgentsAreNotProxied(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set(forwardedFor, "192.0.2.9")
	if address(r) != "127.0.0.1" || source(r) != "127.0.0.1" {
		t.Errorf("%s %s", address(r), source(r))
	}
}

// FuzzForwardedFor: whatever a client invents stands before what the proxy appends, and
// changes nothing.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", "192.0.2.1", "10.0.0.1, 10.0.0.1", ",,,", "for=1", "\x00", "192.0.2.1, \x80", "::1%"} {
		f.Add(seed)
	}
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8")}
	proxy, real := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.77")
	f.Fuzz(func(t *testing.T, invented string) {
		for _, h := range []http.Header{
			{forwardedFor: {invented + ", 192.0.2.77"}},
			{forwardedFor: {invented, "192.0.2.77, 10.0.0.2"}},
		} {
			if got := trusted.client(proxy, h); got != real {
				t.Errorf("%q: %s", invented, got)
			}
		}
		if got := trusted.client(real, http.Header{forwardedFor: {invented}}); got != real {
			t.Errorf("%q of a stranger: %s", invented, got)
		}
		if got := trusted.client(proxy, http.Header{forwardedFor: {invented}}); !got.IsValid() || got.Zone() != "" {
			t.Errorf("%q: %s", invented, got)
		}
	})
}
