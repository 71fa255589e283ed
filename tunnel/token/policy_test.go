package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"borealis/tunnel/keys"
)

// policy is a genuine one.
func policy() Policy {
	c := claims()
	return Policy{
		Engine: c.Engine, Agent: c.Agent, Tunnel: c.Tunnel, Revision: 7,
		Ports: []Port{{"tcp", 47002, 47002}, {"udp", 3478, 3480}},
	}
}

// signPolicy signs p with a key, or fails the test.
func signPolicy(t *testing.T, key ed25519.PrivateKey, id string, p Policy) string {
	t.Helper()
	tok, err := SignPolicy(key, id, p)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// checkPolicy checks a policy as the agent of policy() does.
func checkPolicy(tok string) (Policy, error) {
	p := policy()
	return CheckPolicy(tok, known(), p.Engine, p.Agent, p.Tunnel)
}

func TestGenuinePolicySaysWhatWasSigned(t *testing.T) {
	t.Parallel()
	closed := policy()
	closed.Ports, closed.Revision = []Port{}, math.MaxInt64
	edges := policy()
	edges.Ports, edges.Revision = []Port{{"tcp", 1, 65535}, {"udp", 65535, 65535}}, 1
	for _, p := range []Policy{policy(), closed, edges} {
		for id, key := range map[string]ed25519.PrivateKey{kid: seeded(1), otherKid: seeded(2)} {
			got, err := checkPolicy(signPolicy(t, key, id, p))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		}
	}
}

func TestPolicyForSomethingElse(t *testing.T) {
	t.Parallel()
	p := policy()
	tok := signPolicy(t, seeded(1), kid, p)
	for name, check := range map[string]func() (Policy, error){
		"engine":    func() (Policy, error) { return CheckPolicy(tok, known(), p.Agent, p.Agent, p.Tunnel) },
		"agent":     func() (Policy, error) { return CheckPolicy(tok, known(), p.Engine, p.Engine, p.Tunnel) },
		"tunnel":    func() (Policy, error) { return CheckPolicy(tok, known(), p.Engine, p.Agent, "tunnel-2") },
		"no tunnel": func() (Policy, error) { return CheckPolicy(tok, known(), p.Engine, p.Agent, "") },
		"no engine": func() (Policy, error) { return CheckPolicy(tok, known(), keys.Pin{}, p.Agent, p.Tunnel) },
		"no agent":  func() (Policy, error) { return CheckPolicy(tok, known(), p.Engine, keys.Pin{}, p.Tunnel) },
	} {
		if got, err := check(); !errors.Is(err, ErrForeign) || !cmp.Equal(got, Policy{}) {
			t.Errorf("%s: %v, %v; want ErrForeign", name, got, err)
		}
	}
}

// TestTokenAndPolicyAreNotEachOther signs each as the other, too.
func TestTokenAndPolicyAreNotEachOther(t *testing.T) {
	t.Parallel()
	if _, err := checkPolicy(genuine(t)); !errors.Is(err, ErrSignature) {
		t.Errorf("a token as a policy: %v, want ErrSignature", err)
	}
	signed := signPolicy(t, seeded(1), kid, policy())
	if _, err := Check(signed, known(), want(), issued()); !errors.Is(err, ErrSignature) {
		t.Errorf("a policy as a token: %v, want ErrSignature", err)
	}
	if _, err := checkPolicy(signObject(t, seeded(1), object(t), policyPurpose)); !errors.Is(err, ErrMalformed) {
		t.Errorf("claims signed as a policy: %v, want ErrMalformed", err)
	}
	if _, err := Check(signObject(t, seeded(1), policyObject(t), purpose), known(), want(), issued()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a policy signed as a token: %v, want ErrMalformed", err)
	}
}

// policyObject is the JSON form of the genuine policy, to be changed.
func policyObject(t *testing.T) map[string]any {
	t.Helper()
	b, err := encodePolicy(policy())
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPolicyForm(t *testing.T) {
	t.Parallel()
	if _, err := checkPolicy(signObject(t, seeded(1), policyObject(t), policyPurpose)); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	for _, member := range policyMembers {
		o := policyObject(t)
		delete(o, member)
		if _, err := checkPolicy(signObject(t, seeded(1), o, policyPurpose)); !errors.Is(err, ErrMalformed) {
			t.Errorf("without %s: %v, want ErrMalformed", member, err)
		}
	}
	for name, change := range map[string]map[string]any{
		"one more":         {"exp": "2026-05-04T03:04:01Z"},
		"a twin":           {"Revision": 9},
		"no ports":         {"ports": nil},
		"ports a word":     {"ports": "all"},
		"port zero":        {"ports": []Port{{"tcp", 0, 1}}},
		"reversed range":   {"ports": []Port{{"tcp", 2, 1}}},
		"unknown protocol": {"ports": []Port{{"sctp", 1, 1}}},
		"port too high":    {"ports": []map[string]any{{"protocol": "tcp", "from": 1, "to": 65536}}},
		"port with more":   {"ports": []map[string]any{{"protocol": "tcp", "from": 1, "to": 2, "host": "10.0.0.1"}}},
		"revision zero":    {"revision": 0},
		"revision below":   {"revision": -1},
		"half a revision":  {"revision": 1.5},
		"revision a word":  {"revision": "8"},
		"revision too big": {"revision": json.Number("9223372036854775808")},
		"no tunnel":        {"sub": ""},
		"two lines":        {"sub": "tunnel-1\n"},
		"zero engine":      {"iss": strings.Repeat("A", 43)},
		"engine a word":    {"iss": "engine"},
	} {
		o := policyObject(t)
		maps.Copy(o, change)
		if p, err := checkPolicy(signObject(t, seeded(1), o, policyPurpose)); !errors.Is(err, ErrMalformed) || !cmp.Equal(p, Policy{}) {
			t.Errorf("%s: %v, %v; want ErrMalformed", name, p, err)
		}
	}
}

func TestMutatedPolicies(t *testing.T) {
	t.Parallel()
	tok := signPolicy(t, seeded(1), kid, policy())
	payload := parts(tok)[2]
	for name, tt := range map[string]struct {
		tok  string
		want error
	}{
		"empty":                  {"", ErrMalformed},
		"cut short":              {tok[:len(tok)/2], ErrMalformed},
		"v4.local header":        {with(tok, 1, "local"), ErrMalformed},
		"oversized by one":       {tok + strings.Repeat("A", MaxSize-len(tok)+1), ErrMalformed},
		"footer with more":       {with(tok, 3, encoded(`{"kid":"`+kid+`","x":1}`)), ErrMalformed},
		"key unknown":            {with(tok, 3, encoded(`{"kid":"ffffffffffffffff"}`)), ErrSignature},
		"a byte changed":         {with(tok, 2, bent(t, payload, 40)), ErrSignature},
		"signature changed":      {with(tok, 2, bent(t, payload, -1)), ErrSignature},
		"zero signature":         {with(tok, 2, unsigned(t, payload)), ErrSignature},
		"signed with kid's twin": {signPolicy(t, seeded(2), kid, policy()), ErrSignature},
		"signed by a stranger":   {signPolicy(t, seeded(99), kid, policy()), ErrSignature},
		"signed by the agent":    {signPolicy(t, seeded(11), kid, policy()), ErrSignature},
		"signed by the identity": {signPolicy(t, seeded(10), kid, policy()), ErrSignature},
		"for another purpose":    {signObject(t, seeded(1), policyObject(t), policyPurpose+" "), ErrSignature},
		"for no purpose":         {signObject(t, seeded(1), policyObject(t), ""), ErrSignature},
	} {
		if p, err := checkPolicy(tt.tok); !errors.Is(err, tt.want) || !cmp.Equal(p, Policy{}) {
			t.Errorf("%s: %v, %v; want %v", name, p, err, tt.want)
		}
	}
	if _, err := CheckPolicy(tok, nil, policy().Engine, policy().Agent, policy().Tunnel); !errors.Is(err, ErrSignature) {
		t.Errorf("no known keys: %v, want ErrSignature", err)
	}
}

func TestSignPolicyRefusesWhatCheckWould(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Policy){
		"no engine":     func(p *Policy) { p.Engine = keys.Pin{} },
		"no tunnel":     func(p *Policy) { p.Tunnel = "" },
		"long tunnel":   func(p *Policy) { p.Tunnel = strings.Repeat("t", maxID+1) },
		"revision zero": func(p *Policy) { p.Revision = 0 },
		"port zero":     func(p *Policy) { p.Ports = []Port{{"tcp", 0, 0}} },
		"too many":      func(p *Policy) { p.Ports = manyPorts(200) },
	} {
		p := policy()
		change(&p)
		if tok, err := SignPolicy(seeded(1), kid, p); err == nil {
			t.Errorf("%s: signed as %s", name, tok)
		}
	}
	if _, err := SignPolicy(seeded(1)[:32], kid, policy()); err == nil {
		t.Error("signed with half a key")
	}
	if _, err := SignPolicy(seeded(1), "", policy()); err == nil {
		t.Error("signed without a key id")
	}
}

// manyPorts returns ranges whose text is as long as it gets.
func manyPorts(n int) []Port {
	ports := make([]Port, n)
	for i := range ports {
		ports[i] = Port{"udp", 50000 + uint16(2*i), 50001 + uint16(2*i)}
	}
	return ports
}

// TestEveryServiceAndEveryCustomPortFit has what a device can have at most: 64 custom
// ranges, and the eight ports of the built-in services, with the longest of all else.
func TestEveryServiceAndEveryCustomPortFit(t *testing.T) {
	t.Parallel()
	ports := manyPorts(64 + 8)
	p := policy()
	p.Ports, p.Revision, p.Tunnel = ports, math.MaxInt64, strings.Repeat("t", maxID)
	tok, err := SignPolicy(seeded(1), strings.Repeat("k", maxKeyID), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the policy has %d bytes of %d", len(tok), MaxSize)
	c := claims()
	c.Ports, c.Tunnel, c.ID, c.Nonce = ports, p.Tunnel, strings.Repeat("i", maxID), strings.Repeat("n", maxID)
	c.Endpoint = strings.Repeat("e", 255) + ":65535"
	if tok, err = Sign(seeded(1), strings.Repeat("k", maxKeyID), c); err != nil {
		t.Fatal(err)
	}
	t.Logf("the token has %d bytes of %d", len(tok), MaxSize)
	got, err := Check(tok, map[string]ed25519.PublicKey{strings.Repeat("k", maxKeyID): public(seeded(1))},
		Want{Engine: c.Engine, Agent: c.Agent, Nonce: c.Nonce, Tunnel: c.Tunnel}, issued())
	if err != nil || !cmp.Equal(got.Ports, ports) {
		t.Errorf("the token says %d ports, %v", len(got.Ports), err)
	}
}

// FuzzCheckPolicy feeds policies to CheckPolicy, as they are: nothing may pass but what
// one of the known keys signs to the same again.
func FuzzCheckPolicy(f *testing.F) {
	tok, err := SignPolicy(seeded(1), kid, policy())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{tok, "", "v4.public.", tok[:100], strings.Replace(tok, "v4", "v3", 1), tok + "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := checkPolicy(s)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrForeign) {
				t.Fatalf("CheckPolicy(%q): %v is none of the errors promised", s, err)
			}
			return
		}
		for id, key := range map[string]ed25519.PrivateKey{kid: seeded(1), otherKid: seeded(2)} {
			if again, err := SignPolicy(key, id, p); err == nil && again == s {
				return
			}
		}
		t.Fatalf("CheckPolicy(%q) passes, but no key signs that", s)
	})
}

// FuzzPolicy feeds signed nonsense to what reads a policy: what passes must come out
// of encodePolicy as it went in.
func FuzzPolicy(f *testing.F) {
	b, err := encodePolicy(policy())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"revision":9223372036854775807,"ports":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePolicy(b)
		if err != nil {
			return
		}
		again, err := encodePolicy(p)
		if err != nil {
			t.Fatalf("%s decodes to %v, which does not encode: %v", b, p, err)
		}
		back, err := decodePolicy(again)
		if err != nil {
			t.Fatalf("%s encodes to %s, which does not decode: %v", b, again, err)
		}
		if diff := cmp.Diff(p, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("policy (-first +second):\n%s", diff)
		}
	})
}
