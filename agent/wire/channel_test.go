package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// key is some WireGuard key as it crosses the wire.
var key = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32))

// fromEngine holds one valid message of each kind.
func fromEngine() map[string]wire.FromEngine {
	return map[string]wire.FromEngine{
		"welcome": {Welcome: &wire.Welcome{
			DeviceID: "d1", State: "active", ServerTime: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
			TokenKeys:    []keys.TokenKey{{ID: "0011223344556677", Public: make([]byte, 32), Signature: make([]byte, 64)}},
			NextIdentity: &keys.NextIdentity{Public: make([]byte, 32), Signature: make([]byte, 64)},
			Driver:       &wire.File{SHA256: strings.Repeat("0f", 32), Size: 1 << 20},
			Protocol:     3, Addresses: []string{"engine.example:8443", "192.0.2.1:443", "[2001:db8::1]:8443"},
		}},
		"bare welcome": {Welcome: &wire.Welcome{DeviceID: "d1", State: "pending", ServerTime: time.Unix(1.7e9, 0).UTC()}},
		"start":        {Start: &wire.Start{Tunnel: "t1", Token: "v4.public.x.y", PresharedKey: key}},
		"admit":        {Admit: &wire.Admit{Tunnel: "t1"}},
		"stop":         {Stop: &wire.Stop{Tunnel: "t1", Reason: "operator_left"}},
		"renew":        {Renew: &wire.Renew{Tunnel: "t1", Seconds: 90}},
		"policy":       {Policy: &wire.Policy{Tunnel: "t1", Policy: "v4.public.x.y"}},
		"keys":         {Keys: &wire.Keys{TokenKeys: []keys.TokenKey{{ID: "a", Public: []byte{1}, Signature: []byte{2}}, {ID: "b", Public: []byte{3}, Signature: []byte{4}}}}},
		"state":        {State: &wire.State{State: "active"}},
		"update":       {Update: &wire.Update{Manifest: "v4.public.x.y"}},
	}
}

// fromAgent holds one valid message of each kind.
func fromAgent() map[string]wire.FromAgent {
	return map[string]wire.FromAgent{
		"hello": {Hello: &wire.Hello{
			Nonce: "n1", Version: "1.0", Hostname: "büro-7", OS: "windows", OSVersion: "11 (26100)", Arch: "amd64",
			Link: "wireguard-nt", Dialled: "engine:8443", Tunnel: "t1", Machine: "v2.ab12",
		}},
		"bare hello":  {Hello: &wire.Hello{Nonce: "n1"}},
		"ready":       {Ready: &wire.Ready{Tunnel: "t1", Token: "v4.public.x.y", WireGuardKey: key}},
		"refused":     {Refused: &wire.Refused{Tunnel: "t1", Reason: wire.Busy, Detail: "tunnel t0 is up"}},
		"stopped":     {Stopped: &wire.Stopped{Tunnel: "t1", Reason: wire.LeaseExpired}},
		"stopped why": {Stopped: &wire.Stopped{Tunnel: "t1", Reason: wire.PolicyEnded, Detail: "somebody stopped it"}},
		"applied":     {Applied: &wire.Applied{Tunnel: "t1", Revision: 1<<53 + 1}},
		"inventory": {Inventory: &wire.Inventory{
			Edition: "Windows 11 Pro 24H2", Build: "10.0.26100.2033", CPU: "A processor", Cores: 8, Memory: 1 << 34,
			Disks:    []wire.Disk{{Name: "C:", Kind: "NTFS", Size: 1 << 40, Free: 1 << 39}},
			Adapters: []wire.Adapter{{Name: "Ethernet", MAC: "00:11:22:33:44:55", Addresses: []string{"192.0.2.1/24", "2001:db8::1/64"}}},
			LastUser: `OFFICE\büro`, Booted: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Link: "wireguard-nt", LinkReason: "The driver is there.", Driver: "1.1", Limits: []string{"No terminal."},
		}},
		"bare inventory": {Inventory: &wire.Inventory{}},
		"updated":        {Updated: &wire.Updated{Version: "2.0", Outcome: wire.UpdateRolledBack, Detail: "It did not check in."}},
	}
}

func TestMessagesComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	for name, m := range fromEngine() {
		b, err := m.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := wire.DecodeFromEngine(b)
		if err != nil {
			t.Errorf("%s: %s: %v", name, b, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if _, err := wire.DecodeFromAgent(b); err == nil {
			t.Errorf("%s passes as a message of an agent", name)
		}
	}
	for name, m := range fromAgent() {
		b, err := m.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := wire.DecodeFromAgent(b)
		if err != nil {
			t.Errorf("%s: %s: %v", name, b, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if _, err := wire.DecodeFromEngine(b); err == nil {
			t.Errorf("%s passes as a message of the engine", name)
		}
	}
}

func TestNamesOnTheWire(t *testing.T) {
	t.Parallel()
	b, err := wire.FromAgent{Hello: &wire.Hello{Nonce: "n"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"hello":{"nonce":"n","version":"","hostname":"","os":"","os_version":"","arch":"","link":"","dialled":"","tunnel":"","machine":""}}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("hello (-want +got):\n%s", diff)
	}
	b, err = wire.FromEngine{Start: &wire.Start{Tunnel: "t", Token: "x", PresharedKey: key}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"start":{"tunnel":"t","token":"x","preshared_key":"` + key + `"}}`; string(b) != want {
		t.Errorf("start is %s, want %s", b, want)
	}
}

func TestStrictForm(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"empty":                   ``,
		"no JSON":                 `admit`,
		"null":                    `null`,
		"a list":                  `[]`,
		"a string":                `"admit"`,
		"no member":               `{}`,
		"null member":             `{"admit":null}`,
		"member of another kind":  `{"admit":"t1"}`,
		"an unknown member":       `{"reboot":{"tunnel":"t1"}}`,
		"an unknown inner member": `{"admit":{"tunnel":"t1","force":true}}`,
		"two members":             `{"admit":{"tunnel":"t1"},"stop":{"tunnel":"t1","reason":"x"}}`,
		"a member and null":       `{"admit":{"tunnel":"t1"},"stop":null}`,
		"a member twice":          `{"admit":{"tunnel":"t1"},"admit":{"tunnel":"t2"}}`,
		"an inner member twice":   `{"admit":{"tunnel":"t1","tunnel":"t2"}}`,
		"capitals":                `{"Admit":{"tunnel":"t1"}}`,
		"inner capitals":          `{"admit":{"TUNNEL":"t1"}}`,
		"Kelvin sign":             `{"star` + "t\u212a" + `":{}}`,
		"something after it":      `{"admit":{"tunnel":"t1"}} {}`,
		"garbage after it":        `{"admit":{"tunnel":"t1"}}x`,
		"cut short":               `{"admit":{"tunnel":"t1"`,
		"not UTF-8":               "{\"admit\":{\"tunnel\":\"t\xff\"}}",
		"lone surrogate":          `{"admit":{"tunnel":"\ud800"}}`,
		"deeply nested":           strings.Repeat(`{"admit":`, 10000),
		"a wide list":             `{"admit":{"tunnel":[` + strings.Repeat("[[[[[[[[", 20),
		"too long":                `{"admit":{"tunnel":"t1"}}` + strings.Repeat(" ", wire.MaxMessage),
		"empty id":                `{"admit":{"tunnel":""}}`,
		"no id":                   `{"admit":{}}`,
		"id a number":             `{"admit":{"tunnel":1}}`,
		"id with a line break":    `{"admit":{"tunnel":"t\n1"}}`,
		"id with an escape":       `{"admit":{"tunnel":"t\u001b[2J"}}`,
		"id with NUL":             `{"admit":{"tunnel":"t\u0000"}}`,
		"long id":                 `{"admit":{"tunnel":"` + strings.Repeat("t", 129) + `"}}`,
		"reason with spaces":      `{"stop":{"tunnel":"t1","reason":"because I say so"}}`,
		"no reason":               `{"stop":{"tunnel":"t1"}}`,
		"no seconds":              `{"renew":{"tunnel":"t1"}}`,
		"negative seconds":        `{"renew":{"tunnel":"t1","seconds":-1}}`,
		"a day of seconds":        `{"renew":{"tunnel":"t1","seconds":86400}}`,
		"fractional seconds":      `{"renew":{"tunnel":"t1","seconds":1.5}}`,
		"short preshared key":     `{"start":{"tunnel":"t1","token":"x","preshared_key":"AAAA"}}`,
		"zero preshared key":      `{"start":{"tunnel":"t1","token":"x","preshared_key":"` + strings.Repeat("A", 43) + `="}}`,
		"no preshared key":        `{"start":{"tunnel":"t1","token":"x"}}`,
		"key with line break":     `{"start":{"tunnel":"t1","token":"x","preshared_key":"` + key[:20] + `\n` + key[20:] + `"}}`,
		"no token":                `{"start":{"tunnel":"t1","preshared_key":"` + key + `"}}`,
		"long token":              `{"start":{"tunnel":"t1","token":"` + strings.Repeat("x", 8193) + `","preshared_key":"` + key + `"}}`,
		"policy without a tunnel": `{"policy":{"policy":"x"}}`,
		"policy of nothing":       `{"policy":{"tunnel":"t1"}}`,
		"policy with a space":     `{"policy":{"tunnel":"t1","policy":"v4.public x"}}`,
		"policy with more":        `{"policy":{"tunnel":"t1","policy":"x","revision":1}}`,
		"long policy":             `{"policy":{"tunnel":"t1","policy":"` + strings.Repeat("x", 8193) + `"}}`,
		"policy with a start":     `{"policy":{"tunnel":"t1","policy":"x"},"admit":{"tunnel":"t1"}}`,
		"applied":                 `{"applied":{"tunnel":"t1","revision":1}}`,
		"welcome without a time":  `{"welcome":{"device_id":"d","state":"active"}}`,
		"welcome in the year 1":   `{"welcome":{"device_id":"d","state":"active","server_time":"0001-01-01T00:00:00Z"}}`,
		"welcome without an id":   `{"welcome":{"state":"active","server_time":"2026-01-01T00:00:00Z"}}`,
		"nine token keys":         `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z","token_keys":[` + strings.Repeat(`{"id":"a","public":"","signature":""},`, 8) + `{"id":"a","public":"","signature":""}]}}`,
		"long next identity":      `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z","next_identity":{"public":"` + strings.Repeat("AAAA", 43) + `","signature":""}}}`,
		"next identity with more": `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z","next_identity":{"public":"","signature":"","pin":""}}}`,
		"next identity is null":   `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z","next_identity":null}}`,
		"no keys":                 `{"keys":{"token_keys":[]}}`,
		"keys of nothing":         `{"keys":{}}`,
		"keys without an id":      `{"keys":{"token_keys":[{"public":"","signature":""}]}}`,
		"nine keys":               `{"keys":{"token_keys":[` + strings.Repeat(`{"id":"a","public":"","signature":""},`, 8) + `{"id":"a","public":"","signature":""}]}}`,
		"long key":                `{"keys":{"token_keys":[{"id":"a","public":"` + strings.Repeat("AAAA", 43) + `","signature":""}]}}`,
		"keys and an identity":    `{"keys":{"token_keys":[{"id":"a","public":"","signature":""}],"next_identity":{"public":"","signature":""}}}`,
		"no state":                `{"state":{}}`,
		"state with spaces":       `{"state":{"state":"very active"}}`,
		"state of another":        `{"state":{"state":"active","device_id":"d"}}`,
		"token key with a null":   `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z","token_keys":[null]}}`,
	}
	for name, s := range tests {
		if m, err := wire.DecodeFromEngine([]byte(s)); err == nil || m != (wire.FromEngine{}) {
			t.Errorf("%s: DecodeFromEngine(%.80q) = %+v, %v; want an error", name, s, m, err)
		}
	}
}

func TestStrictFormOfAnAgent(t *testing.T) {
	t.Parallel()
	name := func(s string) string { return `{"hello":{"nonce":"n","hostname":"` + s + `"}}` }
	tests := map[string]string{
		"no nonce":                 `{"hello":{}}`,
		"nonce with a space":       `{"hello":{"nonce":"a b"}}`,
		"line break in a name":     name(`a\nb`),
		"tab in a name":            name(`a\tb`),
		"escape in a name":         name(`\u001b[31mred`),
		"DEL in a name":            name(`a\u007f`),
		"C1 in a name":             name(`a\u009b31m`),
		"right-to-left override":   name(`exe\u202egpj`),
		"zero-width joiner":        name(`a\u200db`),
		"line separator":           name(`a\u2028b`),
		"not UTF-8":                name("a\xff"),
		"escape in the machine":    `{"hello":{"nonce":"n","machine":"\u001b"}}`,
		"long machine":             `{"hello":{"nonce":"n","machine":"` + strings.Repeat("x", 257) + `"}}`,
		"keys":                     `{"keys":{"token_keys":[{"id":"a","public":"","signature":""}]}}`,
		"state":                    `{"state":{"state":"active"}}`,
		"long name":                name(strings.Repeat("x", 257)),
		"two kinds":                `{"hello":{"nonce":"n"},"stopped":{"tunnel":"t","reason":"x"}}`,
		"unknown refusal":          `{"refused":{"tunnel":"t1","reason":"mood","detail":""}}`,
		"long detail":              `{"refused":{"tunnel":"t1","reason":"busy","detail":"` + strings.Repeat("x", 1025) + `"}}`,
		"reason of nothing":        `{"stopped":{"tunnel":"t1","reason":""}}`,
		"applied without a tunnel": `{"applied":{"revision":1}}`,
		"applied nothing":          `{"applied":{"tunnel":"t1"}}`,
		"applied revision zero":    `{"applied":{"tunnel":"t1","revision":0}}`,
		"applied negative":         `{"applied":{"tunnel":"t1","revision":-1}}`,
		"applied a fraction":       `{"applied":{"tunnel":"t1","revision":1.5}}`,
		"applied too much":         `{"applied":{"tunnel":"t1","revision":9223372036854775808}}`,
		"policy":                   `{"policy":{"tunnel":"t1","policy":"x"}}`,
		"ready without a key":      `{"ready":{"tunnel":"t1","token":"x"}}`,
		"ready with a zero key":    `{"ready":{"tunnel":"t1","token":"x","wireguard_key":"` + strings.Repeat("A", 43) + `="}}`,
		"welcome":                  `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z"}}`,
	}
	for name, s := range tests {
		if m, err := wire.DecodeFromAgent([]byte(s)); err == nil || m != (wire.FromAgent{}) {
			t.Errorf("%s: DecodeFromAgent(%.80q) = %+v, %v; want an error", name, s, m, err)
		}
	}
	if _, err := wire.DecodeFromAgent([]byte(name("Büro 7, 東京 (Lab)"))); err != nil {
		t.Errorf("an ordinary name: %v", err)
	}
}

func TestServerNames(t *testing.T) {
	t.Parallel()
	pin := keys.Pin{1, 2, 3}
	prefix := pin.String()[:16]
	for name, want := range map[string][2]string{
		wire.ServerName:                                 {wire.ServerName, ""},
		wire.EnrolServerName:                            {wire.EnrolServerName, ""},
		wire.ServerNameFor(wire.ServerName, pin):        {wire.ServerName, prefix},
		wire.ServerNameFor(wire.EnrolServerName, pin):   {wire.EnrolServerName, prefix},
		strings.ToUpper(prefix + "." + wire.ServerName): {wire.ServerName, prefix},
		"":                                 {},
		"localhost":                        {},
		"borealis.internal":                {},
		"." + wire.ServerName:              {},
		"x." + wire.ServerName:             {},
		prefix[1:] + "." + wire.ServerName: {},
		prefix + "a." + wire.ServerName:    {},
		"a." + prefix[2:] + "." + wire.ServerName + ".": {},
		prefix + wire.ServerName:                        {},
		wire.ServerName + "." + prefix:                  {},
		prefix + "." + wire.ServerName + ".example":     {},
	} {
		if personality, got := wire.ParseServerName(name); personality != want[0] || got != want[1] {
			t.Errorf("%q is %q with %q, want %q", name, personality, got, want)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	_, err := wire.DecodeFromEngine([]byte(strings.Repeat(`{"admit":`, 9) + "1" + strings.Repeat("}", 9)))
	if err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("nine levels: %v", err)
	}
}

// welcome is one of an engine with further addresses.
func welcome(protocol int, addresses ...string) wire.FromEngine {
	return wire.FromEngine{Welcome: &wire.Welcome{
		DeviceID: "d", State: "active", ServerTime: time.Unix(1.7e9, 0).UTC(), Protocol: protocol, Addresses: addresses,
	}}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	t.Parallel()
	tests := map[string]interface{ Encode() ([]byte, error) }{
		"nothing from the engine": wire.FromEngine{},
		"nothing from the agent":  wire.FromAgent{},
		"two":                     wire.FromEngine{Admit: &wire.Admit{Tunnel: "t"}, Stop: &wire.Stop{Tunnel: "t", Reason: "x"}},
		"no tunnel":               wire.FromEngine{Admit: &wire.Admit{}},
		"a zero time":             wire.FromEngine{Welcome: &wire.Welcome{DeviceID: "d", State: "active"}},
		"four addresses":          welcome(3, "a:1", "b:2", "c:3", "d:4"),
		"no port":                 welcome(3, "a"),
		"a port of zero":          welcome(3, "a:0"),
		"a protocol below zero":   welcome(-1),
		"an escape in a detail":   wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "t", Reason: "x", Detail: "\x1b"}},
		"an escape":               wire.FromAgent{Refused: &wire.Refused{Tunnel: "t", Reason: wire.Busy, Detail: "\x1b"}},
		"not UTF-8":               wire.FromAgent{Hello: &wire.Hello{Nonce: "n", Hostname: "\xff"}},
		"no secret":               wire.EnrolRequest{},
		"no device":               wire.EnrolResponse{State: "active"},
	}
	for name, m := range tests {
		if b, err := m.Encode(); err == nil {
			t.Errorf("%s encodes to %s", name, b)
		}
	}
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	q := wire.EnrolRequest{
		Secret: secret, Hostname: "büro-7", OS: "linux", OSVersion: "Debian 12", Arch: "arm64", Version: "1.0", Machine: "ab12",
	}
	b, err := q.Encode()
	if err != nil {
		t.Fatal(err)
	}
	gotRequest, err := wire.DecodeEnrolRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(q, gotRequest); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	r := wire.EnrolResponse{DeviceID: "d1", State: "pending", Message: "Wait for approval."}
	if b, err = r.Encode(); err != nil {
		t.Fatal(err)
	}
	gotResponse, err := wire.DecodeEnrolResponse(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, gotResponse); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	for _, s := range []string{``, `{}`, `null`, `{"secret":"short"}`, `{"secret":"` + secret + `","role":"admin"}`, `{"secret":"` + secret + `","hostname":"a\u001bb"}`} {
		if _, err := wire.DecodeEnrolRequest([]byte(s)); err == nil {
			t.Errorf("DecodeEnrolRequest(%q) passes", s)
		}
	}
	for _, s := range []string{``, `{}`, `{"device_id":"d","state":"very active"}`, `{"device_id":"d","state":"active","message":"\u001b"}`} {
		if _, err := wire.DecodeEnrolResponse([]byte(s)); err == nil {
			t.Errorf("DecodeEnrolResponse(%q) passes", s)
		}
	}
}

// FuzzDecodeFromEngine checks that what is understood is said again the same way.
func FuzzDecodeFromEngine(f *testing.F) {
	for _, m := range fromEngine() {
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, wire.DecodeFromEngine)
	})
}

// FuzzDecodeFromAgent checks that what is understood is said again the same way.
func FuzzDecodeFromAgent(f *testing.F) {
	for _, m := range fromAgent() {
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, wire.DecodeFromAgent)
	})
}

// again decodes, encodes and decodes once more.
func again[M interface{ Encode() ([]byte, error) }](t *testing.T, b []byte, decode func([]byte) (M, error)) {
	t.Helper()
	m, err := decode(b)
	if err != nil {
		return
	}
	if !json.Valid(b) {
		t.Fatalf("%q is understood but is not JSON", b)
	}
	out, err := m.Encode()
	if err != nil {
		t.Fatalf("%q decodes to %+v, which does not encode: %v", b, m, err)
	}
	back, err := decode(out)
	if err != nil {
		t.Fatalf("%q encodes to %q, which does not decode: %v", b, out, err)
	}
	if diff := cmp.Diff(m, back, cmpopts.EquateEmpty()); diff != "" { // an empty list is not sent
		t.Fatalf("message (-first +second):\n%s", diff)
	}
}
