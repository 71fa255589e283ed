package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/keys"
)

const (
	kid      = "0011223344556677"
	otherKid = "8899aabbccddeeff"
)

var sameAddr = cmpopts.EquateComparable(netip.Addr{})

// seeded returns a key that is the same in every run, so that the fuzzing corpus
// holds tokens that pass.
func seeded(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

// public returns the public half of key.
func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// known are the token keys that the checker knows: two genuine ones.
func known() map[string]ed25519.PublicKey {
	return map[string]ed25519.PublicKey{kid: public(seeded(1)), otherKid: public(seeded(2))}
}

// issued is when the tokens of these tests were issued.
func issued() time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC) }

// claims are genuine ones.
func claims() Claims {
	return Claims{
		Engine: keys.PinOf(public(seeded(10))), Agent: keys.PinOf(public(seeded(11))),
		Tunnel: "tunnel-1", ID: "token-1", Nonce: "nonce-1", IssuedAt: issued(),
		ServerKey: wgtypes.Key(bytes.Repeat([]byte{7}, wgtypes.KeyLen)), Endpoint: "engine.example:30000",
		VirtualIP: netip.MustParseAddr("10.255.0.2"), EngineIP: netip.MustParseAddr("10.255.0.1"),
		Ports: []Port{{"tcp", 47002, 47002}, {"udp", 3478, 3480}},
		Idle:  15 * time.Minute, ShellKey: public(seeded(12)),
	}
}

// want is what the checker knows about claims().
func want() Want {
	c := claims()
	return Want{Engine: c.Engine, Agent: c.Agent, Nonce: c.Nonce, Tunnel: c.Tunnel}
}

// sign signs c with a key, or fails the test.
func sign(t *testing.T, key ed25519.PrivateKey, id string, c Claims) string {
	t.Helper()
	tok, err := Sign(key, id, c)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// genuine is a token that passes.
func genuine(t *testing.T) string { return sign(t, seeded(1), kid, claims()) }

func TestGenuineTokenSaysWhatWasSigned(t *testing.T) {
	t.Parallel()
	full := claims()
	bare := claims()
	bare.Ports, bare.Endpoint, bare.Idle = []Port{}, "[2001:db8::1]:30000", time.Second
	for _, c := range []Claims{full, bare} {
		for id, key := range map[string]ed25519.PrivateKey{kid: seeded(1), otherKid: seeded(2)} {
			tok := sign(t, key, id, c)
			if !strings.HasPrefix(tok, "v4.public.") {
				t.Errorf("token begins with %.12q", tok)
			}
			got, err := Check(tok, known(), want(), issued())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c, got, sameAddr); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	tok := genuine(t)
	tests := []struct {
		at   time.Duration
		want error
	}{
		{-365 * 24 * time.Hour, ErrEarly},
		{-Early - time.Second, ErrEarly},
		{-Early - time.Nanosecond, ErrEarly},
		{-Early, nil},
		{0, nil},
		{Lifetime - time.Second, nil},
		{Lifetime - time.Nanosecond, nil},
		{Lifetime, ErrExpired},
		{Lifetime + time.Second, ErrExpired},
		{365 * 24 * time.Hour, ErrExpired},
	}
	for _, tt := range tests {
		now := issued().Add(tt.at).In(time.FixedZone("elsewhere", 5*3600))
		c, err := Check(tok, known(), want(), now)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("at %v: %v, want %v", tt.at, err, tt.want)
		}
		if err != nil && !cmp.Equal(c, Claims{}, sameAddr) {
			t.Errorf("at %v: refused with claims %v", tt.at, c)
		}
	}
}

func TestGenuineTokenForSomethingElse(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Want){
		"engine":     func(w *Want) { w.Engine = w.Agent },
		"agent":      func(w *Want) { w.Agent = w.Engine },
		"nonce":      func(w *Want) { w.Nonce = "nonce-2" },
		"tunnel":     func(w *Want) { w.Tunnel = "tunnel-2" },
		"no engine":  func(w *Want) { w.Engine = keys.Pin{} },
		"no agent":   func(w *Want) { w.Agent = keys.Pin{} },
		"no nonce":   func(w *Want) { w.Nonce = "" },
		"no tunnel":  func(w *Want) { w.Tunnel = "" },
		"nonce case": func(w *Want) { w.Nonce = "NONCE-1" },
		"all empty":  func(w *Want) { *w = Want{} },
	}
	for name, change := range tests {
		w := want()
		change(&w)
		if _, err := Check(genuine(t), known(), w, issued()); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
	}
}

// parts splits a token at its dots.
func parts(tok string) []string { return strings.Split(tok, ".") }

// with returns the token with one of its parts replaced.
func with(tok string, part int, by string) string {
	p := parts(tok)
	p[part] = by
	return strings.Join(p, ".")
}

// bent returns s, base64 without padding, with one bit of its content flipped.
func bent(t *testing.T, s string, at int) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return base64.RawURLEncoding.EncodeToString(b)
}

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwt returns a well-made HS256 JSON Web Token whose key is the public token key.
func jwt(t *testing.T, header string) string {
	t.Helper()
	body, err := encode(claims())
	if err != nil {
		t.Fatal(err)
	}
	signed := encoded(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, public(seeded(1)))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// otherFormats returns the genuine claims in formats that are not ours.
func otherFormats(t *testing.T) map[string]string {
	t.Helper()
	body, err := encode(claims())
	if err != nil {
		t.Fatal(err)
	}
	foot, err := encodeFooter(kid)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := paseto.NewTokenFromClaimsJSON(body, foot)
	if err != nil {
		t.Fatal(err)
	}
	local, err := paseto.V4SymmetricKeyFromBytes(public(seeded(1)))
	if err != nil {
		t.Fatal(err)
	}
	v2, err := paseto.NewV2AsymmetricSecretKeyFromEd25519(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"v4.local under the public key": tok.V4Encrypt(local, []byte(purpose)),
		"v2.public":                     tok.V2Sign(v2),
		"v3.public":                     tok.V3Sign(paseto.NewV3AsymmetricSecretKey(), []byte(purpose)),
		"JWT HS256":                     jwt(t, `{"alg":"HS256","typ":"JWT","kid":"`+kid+`"}`),
		"JWT none":                      jwt(t, `{"alg":"none"}`),
	}
}

func TestMutatedTokens(t *testing.T) {
	t.Parallel()
	tok := genuine(t)
	payload, foot := parts(tok)[2], parts(tok)[3]
	otherClaims := claims()
	otherClaims.ID = "token-2"
	other := sign(t, seeded(2), otherKid, otherClaims)
	tests := map[string]struct {
		tok  string
		want error
	}{
		"empty":                   {"", ErrMalformed},
		"a word":                  {"token", ErrMalformed},
		"only dots":               {"...", ErrMalformed},
		"header alone":            {"v4.public.", ErrMalformed},
		"no payload":              {with(tok, 2, ""), ErrMalformed},
		"a payload of 63 bytes":   {with(tok, 2, encoded(strings.Repeat("x", 63))), ErrMalformed},
		"no footer":               {strings.Join(parts(tok)[:3], "."), ErrMalformed},
		"empty footer":            {with(tok, 3, ""), ErrMalformed},
		"a fifth part":            {tok + ".x", ErrMalformed},
		"cut short":               {tok[:len(tok)/2], ErrMalformed},
		"space before":            {" " + tok, ErrMalformed},
		"space after":             {tok + " ", ErrMalformed},
		"line break after":        {tok + "\n", ErrMalformed},
		"line break in payload":   {with(tok, 2, payload[:10]+"\n"+payload[10:]), ErrMalformed},
		"padded payload":          {with(tok, 2, payload+"="), ErrMalformed},
		"standard base64":         {with(tok, 2, strings.Repeat("+/", 60)), ErrMalformed},
		"upper-case header":       {strings.Replace(tok, "v4.public", "V4.PUBLIC", 1), ErrMalformed},
		"v4.local header":         {with(tok, 1, "local"), ErrMalformed},
		"v3 header":               {with(tok, 0, "v3"), ErrMalformed},
		"v2 header":               {with(tok, 0, "v2"), ErrMalformed},
		"v1 header":               {with(tok, 0, "v1"), ErrMalformed},
		"v5 header":               {with(tok, 0, "v5"), ErrMalformed},
		"oversized by one":        {tok + strings.Repeat("A", MaxSize-len(tok)+1), ErrMalformed},
		"a megabyte":              {"v4.public." + strings.Repeat("A", 1<<20) + "." + foot, ErrMalformed},
		"footer is no JSON":       {with(tok, 3, encoded(kid)), ErrMalformed},
		"footer with more":        {with(tok, 3, encoded(`{"kid":"`+kid+`","x":1}`)), ErrMalformed},
		"footer with spaces":      {with(tok, 3, encoded(`{"kid": "`+kid+`"}`)), ErrMalformed},
		"footer with key twice":   {with(tok, 3, encoded(`{"kid":"x","kid":"`+kid+`"}`)), ErrMalformed},
		"footer in capitals":      {with(tok, 3, encoded(`{"KID":"`+kid+`"}`)), ErrMalformed},
		"footer with a number":    {with(tok, 3, encoded(`{"kid":1}`)), ErrMalformed},
		"footer with empty key":   {with(tok, 3, encoded(`{"kid":""}`)), ErrMalformed},
		"footer followed":         {with(tok, 3, encoded(`{"kid":"`+kid+`"}{}`)), ErrMalformed},
		"key unknown":             {with(tok, 3, encoded(`{"kid":"ffffffffffffffff"}`)), ErrSignature},
		"key id with a path":      {with(tok, 3, encoded(`{"kid":"../../token.key"}`)), ErrSignature},
		"footer of another key":   {with(tok, 3, parts(other)[3]), ErrSignature},
		"payload of another":      {with(tok, 2, parts(other)[2]), ErrSignature},
		"first byte changed":      {with(tok, 2, bent(t, payload, 0)), ErrSignature},
		"a claim changed":         {with(tok, 2, bent(t, payload, 40)), ErrSignature},
		"signature changed":       {with(tok, 2, bent(t, payload, -1)), ErrSignature},
		"signature halved":        {with(tok, 2, bent(t, payload, -64)), ErrSignature},
		"a byte less":             {with(tok, 2, payload[:len(payload)-4]), ErrSignature},
		"no signature":            {with(tok, 2, encoded(strings.Repeat("\x00", 64))), ErrSignature},
		"zero signature":          {with(tok, 2, unsigned(t, payload)), ErrSignature},
		"signed with kid's twin":  {sign(t, seeded(2), kid, claims()), ErrSignature},
		"signed by a stranger":    {sign(t, seeded(99), kid, claims()), ErrSignature},
		"stranger, unknown kid":   {sign(t, seeded(99), "deadbeefdeadbeef", claims()), ErrSignature},
		"signed by the agent":     {sign(t, seeded(11), kid, claims()), ErrSignature},
		"signed by the identity":  {sign(t, seeded(10), kid, claims()), ErrSignature},
		"signed by the shell key": {sign(t, seeded(12), kid, claims()), ErrSignature},
	}
	for name, tt := range tests {
		c, err := Check(tt.tok, known(), want(), issued())
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if !cmp.Equal(c, Claims{}, sameAddr) {
			t.Errorf("%s: refused with claims %v", name, c)
		}
	}
	for name, tok := range otherFormats(t) {
		if _, err := Check(tok, known(), want(), issued()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := Check(tok, nil, want(), issued()); !errors.Is(err, ErrSignature) {
		t.Errorf("no known keys: %v, want ErrSignature", err)
	}
	broken := map[string]ed25519.PublicKey{kid: public(seeded(1))[:31]}
	if _, err := Check(tok, broken, want(), issued()); !errors.Is(err, ErrSignature) {
		t.Errorf("a short known key: %v, want ErrSignature", err)
	}
}

// unsigned replaces the signature at the end of a payload by zeros.
func unsigned(t *testing.T, payload string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[len(b)-64:])
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestTokenKeyOutlivesItsTokens(t *testing.T) {
	t.Parallel()
	if want := Lifetime + 5*time.Minute; keys.TokenOverlap != want {
		t.Errorf("a token key that was replaced is known for %v, want %v", keys.TokenOverlap, want)
	}
}
