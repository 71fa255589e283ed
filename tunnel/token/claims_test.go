package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"aidanwoods.dev/go-paseto"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/keys"
)

// object is the JSON form of the genuine claims, to be changed.
func object(t *testing.T) map[string]any {
	t.Helper()
	b, err := encode(claims())
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// signObject signs any JSON object as if it were a token.
func signObject(t *testing.T, key ed25519.PrivateKey, o map[string]any, implicit string) string {
	t.Helper()
	foot, err := encodeFooter(kid)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := paseto.MakeToken(o, foot)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := paseto.NewV4AsymmetricSecretKeyFromEd25519(key)
	if err != nil {
		t.Fatal(err)
	}
	return tok.V4Sign(secret, []byte(implicit))
}

// another holds a well-formed value for each claim that differs from the genuine one.
func another() map[string]any {
	return map[string]any{
		"iss": keys.PinOf(public(seeded(20))).String(), "aud": keys.PinOf(public(seeded(21))).String(),
		"sub": "tunnel-2", "jti": "token-2", "nonce": "nonce-2",
		"iat": "2026-05-04T03:02:02Z", "nbf": "2026-05-04T03:01:30Z", "exp": "2026-05-04T04:04:01Z",
		"server_key": public(seeded(22)), "endpoint": "evil.example:30000",
		"virtual_ip": "10.255.0.3", "engine_ip": "10.255.0.9",
		"ports": []Port{{"tcp", 1, 65535}}, "idle_seconds": 901, "shell_key": public(seeded(23)),
	}
}

func TestSignedForAnotherPurpose(t *testing.T) {
	t.Parallel()
	for _, implicit := range []string{"", "borealis policy v1", purpose + " "} {
		if _, err := Check(signObject(t, seeded(1), object(t), implicit), known(), want(), issued()); !errors.Is(err, ErrSignature) {
			t.Errorf("signed for %q: %v, want ErrSignature", implicit, err)
		}
	}
}

func TestEachClaimChanged(t *testing.T) {
	t.Parallel()
	// What a genuine key's signature on the changed claim comes to. Those that
	// nothing else is known about pass: they are the engine's to say.
	genuineKey := map[string]error{
		"iss": ErrForeign, "aud": ErrForeign, "sub": ErrForeign, "nonce": ErrForeign,
		"iat": ErrMalformed, "nbf": ErrMalformed, "exp": ErrMalformed,
		"jti": nil, "server_key": nil, "endpoint": nil, "virtual_ip": nil, "engine_ip": nil,
		"ports": nil, "idle_seconds": nil, "shell_key": nil,
	}
	if len(genuineKey) != len(members) {
		t.Fatalf("%d claims, %d expectations", len(members), len(genuineKey))
	}
	for _, claim := range members {
		changed := object(t)
		changed[claim] = another()[claim]
		if _, err := Check(signObject(t, seeded(99), changed, purpose), known(), want(), issued()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s changed and signed by a stranger: %v, want ErrSignature", claim, err)
		}
		_, err := Check(signObject(t, seeded(1), changed, purpose), known(), want(), issued())
		if expect := genuineKey[claim]; !errors.Is(err, expect) || (err == nil) != (expect == nil) {
			t.Errorf("%s changed and signed by the engine: %v, want %v", claim, err, expect)
		}
		missing := object(t)
		delete(missing, claim)
		if _, err := Check(signObject(t, seeded(1), missing, purpose), known(), want(), issued()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s missing: %v, want ErrMalformed", claim, err)
		}
		null := object(t)
		null[claim] = nil
		if _, err := Check(signObject(t, seeded(1), null, purpose), known(), want(), issued()); claim != "ports" && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s null: %v, want ErrMalformed", claim, err)
		}
		upper := object(t)
		upper[strings.ToUpper(claim)] = upper[claim]
		if _, err := Check(signObject(t, seeded(1), upper, purpose), known(), want(), issued()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s also in capitals: %v, want ErrMalformed", claim, err)
		}
	}
}

func TestMalformedClaimsAreRefusedEvenWhenSigned(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]any{
		"an unknown claim":          {"role": "admin"},
		"engine no pin":             {"iss": "engine"},
		"engine zero":               {"iss": keys.Pin{}.String()},
		"agent zero":                {"aud": keys.Pin{}.String()},
		"tunnel empty":              {"sub": ""},
		"tunnel with a line break":  {"sub": "tunnel\n1"},
		"tunnel too long":           {"sub": strings.Repeat("x", maxID+1)},
		"id empty":                  {"jti": ""},
		"id a number":               {"jti": 5},
		"nonce empty":               {"nonce": ""},
		"times as numbers":          {"iat": issued().Unix()},
		"time with a zone":          {"iat": "2026-05-04T05:02:01+02:00"},
		"time with fractions":       {"iat": "2026-05-04T03:02:01.5Z"},
		"lives for an hour":         {"exp": "2026-05-04T04:02:01Z"},
		"never expires":             {"exp": ""},
		"holds from long ago":       {"nbf": "2020-01-01T00:00:00Z"},
		"server key short":          {"server_key": []byte("short")},
		"server key zero":           {"server_key": make([]byte, 32)},
		"server key no base64":      {"server_key": "!"},
		"shell key short":           {"shell_key": []byte("short")},
		"shell key zero":            {"shell_key": make([]byte, 32)},
		"endpoint without host":     {"endpoint": ":30000"},
		"endpoint without port":     {"endpoint": "engine.example"},
		"endpoint with empty port":  {"endpoint": "engine.example:"},
		"endpoint with port 0":      {"endpoint": "engine.example:0"},
		"endpoint with a name":      {"endpoint": "engine.example:http"},
		"endpoint beyond 65535":     {"endpoint": "engine.example:65536"},
		"endpoint with a space":     {"endpoint": "engine example:30000"},
		"agent address IPv6":        {"virtual_ip": "fd00::2"},
		"agent address mapped":      {"virtual_ip": "::ffff:10.255.0.2"},
		"agent address a prefix":    {"virtual_ip": "10.255.0.2/32"},
		"agent address with zero":   {"virtual_ip": "10.255.0.002"},
		"agent address 0.0.0.0":     {"virtual_ip": "0.0.0.0"},
		"agent address loopback":    {"virtual_ip": "127.0.0.1"},
		"agent address multicast":   {"virtual_ip": "224.0.0.1"},
		"agent address broadcast":   {"virtual_ip": "255.255.255.255"},
		"engine address IPv6":       {"engine_ip": "fd00::1"},
		"engine address empty":      {"engine_ip": ""},
		"both addresses the same":   {"engine_ip": "10.255.0.2"},
		"idle zero":                 {"idle_seconds": 0},
		"idle negative":             {"idle_seconds": -1},
		"idle that overflows":       {"idle_seconds": int64(1) << 62},
		"idle a fraction":           {"idle_seconds": 1.5},
		"ports an object":           {"ports": map[string]any{}},
		"port of another protocol":  {"ports": []Port{{"sctp", 1, 2}}},
		"port without a protocol":   {"ports": []Port{{"", 1, 2}}},
		"port in capitals":          {"ports": []Port{{"TCP", 1, 2}}},
		"ports reversed":            {"ports": []Port{{"tcp", 2, 1}}},
		"port zero":                 {"ports": []Port{{"tcp", 0, 1}}},
		"port beyond 65535":         {"ports": []map[string]any{{"protocol": "tcp", "from": 1, "to": 65536}}},
		"port with an unknown word": {"ports": []map[string]any{{"protocol": "tcp", "from": 1, "to": 2, "x": 3}}},
	}
	for name, change := range tests {
		o := object(t)
		maps.Copy(o, change)
		if _, err := Check(signObject(t, seeded(1), o, purpose), known(), want(), issued()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestSignRefusesWhatCheckWould(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Claims){
		"nothing":       func(c *Claims) { *c = Claims{} },
		"no tunnel":     func(c *Claims) { c.Tunnel = "" },
		"no addresses":  func(c *Claims) { c.VirtualIP = netip.Addr{} },
		"same address":  func(c *Claims) { c.VirtualIP = c.EngineIP },
		"mapped":        func(c *Claims) { c.VirtualIP = netip.AddrFrom16(c.VirtualIP.As16()) },
		"no shell key":  func(c *Claims) { c.ShellKey = nil },
		"no server key": func(c *Claims) { c.ServerKey = wgtypes.Key{} },
		"no idle":       func(c *Claims) { c.Idle = 0 },
		"no time":       func(c *Claims) { c.IssuedAt = time.Time{} },
		"reversed port": func(c *Claims) { c.Ports = []Port{{"tcp", 9, 8}} },
		"too many":      func(c *Claims) { c.Ports = make([]Port, 200); fill(c.Ports) },
	}
	for name, change := range tests {
		c := claims()
		change(&c)
		if tok, err := Sign(seeded(1), kid, c); err == nil {
			t.Errorf("%s: signed as %s", name, tok)
		}
	}
	for _, id := range []string{"", "a b", strings.Repeat("x", maxKeyID+1), "ü"} {
		if _, err := Sign(seeded(1), id, claims()); err == nil {
			t.Errorf("signed with key id %q", id)
		}
	}
	for name, key := range map[string]ed25519.PrivateKey{"nil": nil, "short": seeded(1)[:32]} {
		if _, err := Sign(key, kid, claims()); err == nil {
			t.Errorf("signed with a %s key", name)
		}
	}
}

// fill makes ports distinct and long in JSON.
func fill(ports []Port) {
	for i := range ports {
		ports[i] = Port{"tcp", 40000 + uint16(i), 40000 + uint16(i)}
	}
}

func TestSignTruncatesToSecondsAndUTC(t *testing.T) {
	t.Parallel()
	c := claims()
	c.IssuedAt = issued().Add(999 * time.Millisecond).In(time.FixedZone("elsewhere", -7*3600))
	got, err := Check(sign(t, seeded(1), kid, c), known(), want(), issued())
	if err != nil {
		t.Fatal(err)
	}
	if !got.IssuedAt.Equal(issued()) || got.IssuedAt.Location() != time.UTC {
		t.Errorf("issued at %v, want %v", got.IssuedAt, issued())
	}
}
