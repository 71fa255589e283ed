package tunnel

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"borealis/acl"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

// TestBadTokensAddNoPeer shows the engine every kind of wrong token in place of the
// one it offered. None may add a peer.
func TestBadTokensAddNoPeer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	kid, own := r.keys.TokenSigner()
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(h *host, key ed25519.PrivateKey, kid string, change func(*token.Claims)) func(string) string {
		return func(offered string) string {
			want := token.Want{Engine: r.keys.Identity.Pin(), Agent: h.identity.Pin(), Nonce: testNonce, Tunnel: h.offers[len(h.offers)-1].Tunnel}
			c, err := token.Check(offered, r.keys.TokenPublic(), want, time.Now())
			if err != nil {
				t.Error(err)
			}
			change(&c)
			tok, err := token.Sign(key, kid, c)
			if err != nil {
				return "the signer refused: " + err.Error()
			}
			return tok
		}
	}
	type showing = func(h *host) func(string) string
	text := func(f func(string) string) showing { return func(*host) func(string) string { return f } }
	claim := func(f func(*token.Claims)) showing {
		return func(h *host) func(string) string { return signed(h, own, kid, f) }
	}
	cases := map[string]showing{
		"empty":             text(func(string) string { return "" }),
		"blank":             text(func(string) string { return " " }),
		"no header":         text(func(s string) string { return strings.TrimPrefix(s, "v4.public.") }),
		"v4.local":          text(func(s string) string { return strings.Replace(s, "v4.public", "v4.local", 1) }),
		"v3.public":         text(func(s string) string { return strings.Replace(s, "v4.", "v3.", 1) }),
		"v2.public":         text(func(s string) string { return strings.Replace(s, "v4.", "v2.", 1) }),
		"JWT none":          text(func(string) string { return "eyJhbGciOiJub25lIn0.e30." }),
		"unsigned":          text(func(s string) string { return s[:len(s)/2] }),
		"no footer":         text(func(s string) string { return s[:strings.LastIndex(s, ".")] }),
		"trailing byte":     text(func(s string) string { return s + "A" }),
		"trailing part":     text(func(s string) string { return s + ".AAAA" }),
		"leading byte":      text(func(s string) string { return " " + s }),
		"first bit flipped": text(func(s string) string { return flip(s, 0) }),
		"middle flipped":    text(func(s string) string { return flip(s, 1) }),
		"last bit flipped":  text(func(s string) string { return flip(s, 2) }),
		"huge":              text(func(s string) string { return s + strings.Repeat("A", 60<<10) }),
		"footer swapped": text(func(s string) string {
			return s[:strings.LastIndex(s, ".")+1] + base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"0000000000000000"}`))
		}),
		"standard base64": text(func(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) + "==" }),
		"upper case":      text(strings.ToUpper),
		"foreign key":     func(h *host) func(string) string { return signed(h, foreign, kid, func(*token.Claims) {}) },
		"unknown kid": func(h *host) func(string) string {
			return signed(h, own, "ffffffffffffffff", func(*token.Claims) {})
		},
		"foreign key and kid": func(h *host) func(string) string {
			return signed(h, foreign, "ffffffffffffffff", func(*token.Claims) {})
		},
		"other agent":      claim(func(c *token.Claims) { c.Agent = keys.Pin{1} }),
		"other engine":     claim(func(c *token.Claims) { c.Engine = keys.Pin{1} }),
		"other tunnel":     claim(func(c *token.Claims) { c.Tunnel = "0198c0de-0000-7000-8000-000000000000" }),
		"other connection": claim(func(c *token.Claims) { c.Nonce = "nonce-of-yesterday" }),
		"no nonce":         claim(func(c *token.Claims) { c.Nonce = "" }),
		"unknown id":       claim(func(c *token.Claims) { c.ID = "AAAAAAAAAAAAAAAAAAAAAAAAAA" }),
		"no id":            claim(func(c *token.Claims) { c.ID = "" }),
		"expired":          claim(func(c *token.Claims) { c.IssuedAt = c.IssuedAt.Add(-token.Lifetime - time.Second) }),
		"expired for days": claim(func(c *token.Claims) { c.IssuedAt = c.IssuedAt.Add(-72 * time.Hour) }),
		"not yet":          claim(func(c *token.Claims) { c.IssuedAt = c.IssuedAt.Add(token.Early + time.Minute) }),
		"wrong addresses":  claim(func(c *token.Claims) { c.VirtualIP = c.EngineIP }),
		"no endpoint":      claim(func(c *token.Claims) { c.Endpoint = "" }),
		"no server key":    claim(func(c *token.Claims) { c.ServerKey = [32]byte{} }),
		"no shell key":     claim(func(c *token.Claims) { c.ShellKey = nil }),
		"no idle time":     claim(func(c *token.Claims) { c.Idle = 0 }),
		"ports reversed": claim(func(c *token.Claims) {
			c.Ports = []token.Port{{Protocol: acl.TCP, From: 2, To: 1}}
		}),
	}
	if len(cases) < 30 {
		t.Fatalf("only %d cases", len(cases))
	}
	for name, show := range cases {
		t.Run(name, func(t *testing.T) {
			h := r.join(t, func(h *host) { h.token = show(h) })
			st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.ending(t, st.TunnelID); got != TokenRejected {
				t.Errorf("ended as %q", got)
			}
			if n := r.peers(t); n != 0 {
				t.Errorf("%d peers", n)
			}
		})
	}
}

// TestReplayedTokenAddsNoPeer shows the token of a tunnel that ended, and the one of
// a tunnel that is up, a second time.
func TestReplayedTokenAddsNoPeer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var first string
	h := r.join(t, func(h *host) {
		h.token = func(offered string) string {
			if first == "" {
				first = offered
			}
			return first
		}
	})
	r.up(t, h, holder("nora"))
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, st.TunnelID); got != TokenRejected {
		t.Errorf("ended as %q", got)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
}

// flip changes one character of a token's payload: near its start, middle or end.
func flip(s string, where int) string {
	start, end := len("v4.public."), strings.LastIndex(s, ".")
	at := []int{start + 1, (start + end) / 2, end - 2}[where]
	with := byte('A')
	if s[at] == with {
		with = 'B'
	}
	return fmt.Sprintf("%s%c%s", s[:at], with, s[at+1:])
}
