package wire_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// pin is the same in every run, so that the fuzzing corpus holds good codes.
func pin() keys.Pin {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return keys.PinOf(key.Public().(ed25519.PublicKey))
}

const secret = "ABCDEFGHIJKLMNOPQRSTUVW234"

func TestNewSecret(t *testing.T) {
	t.Parallel()
	a, b := wire.NewSecret(), wire.NewSecret()
	if a == b {
		t.Errorf("two secrets are %q", a)
	}
	for _, s := range []string{a, b} {
		if _, err := wire.ParseCode(wire.Code{Address: "engine:1", Pin: pin(), Secret: s}.String()); err != nil {
			t.Errorf("secret %q: %v", s, err)
		}
	}
}

func TestParseCode(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"engine:8443", "engine.example.com:8443", "192.0.2.7:443", "[2001:db8::7]:8443", "[fe80::1%eth0]:8443",
		"localhost:1", "a-b.c_d.example.:65535", "brl1.example:8443",
	} {
		want := wire.Code{Address: address, Pin: pin(), Secret: secret}
		for _, s := range []string{want.String(), " \t" + want.String() + "\r\n"} {
			got, err := wire.ParseCode(s)
			if err != nil {
				t.Errorf("ParseCode(%q): %v", s, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ParseCode(%q) (-want +got):\n%s", s, diff)
			}
		}
	}
}

func TestParseCodeSaysWhichPartIsWrong(t *testing.T) {
	t.Parallel()
	p := pin().String()
	tests := []struct{ name, code, want string }{
		{"empty", "", "begin"},
		{"something else", "hello", "begin"},
		{"another version", "brl2.engine:8443." + p + "." + secret, "begin"},
		{"upper-case prefix", "BRL1.engine:8443." + p + "." + secret, "begin"},
		{"prefix alone", "brl1.", "incomplete"},
		{"address alone", "brl1.engine:8443", "incomplete"},
		{"no address", "brl1." + p + "." + secret, "incomplete"},
		{"empty address", "brl1.." + p + "." + secret, "address"},
		{"no port", "brl1.engine." + p + "." + secret, "address"},
		{"port zero", "brl1.engine:0." + p + "." + secret, "address: port"},
		{"port too large", "brl1.engine:65536." + p + "." + secret, "address: port"},
		{"port with zeros", "brl1.engine:08443." + p + "." + secret, "address: port"},
		{"port a word", "brl1.engine:https." + p + "." + secret, "address: port"},
		{"no host", "brl1.:8443." + p + "." + secret, "address: host"},
		{"host with a space", "brl1.my engine:8443." + p + "." + secret, "address: host"},
		{"host with a slash", "brl1.engine/x:8443." + p + "." + secret, "address: host"},
		{"host with a user", "brl1.me@engine:8443." + p + "." + secret, "address: host"},
		{"host is a URL", "brl1.https://engine:8443." + p + "." + secret, "address"},
		{"bare IPv6", "brl1.2001:db8::7:8443." + p + "." + secret, "address"},
		{"bracketed name", "brl1.[engine]:8443." + p + "." + secret, "address"},
		{"host with a control", "brl1.eng\x1bine:8443." + p + "." + secret, "address: host"},
		{"zone with a control", "brl1.[fe80::1%\x1b]:8443." + p + "." + secret, "address: host"},
		{"pin too short", "brl1.engine:8443." + p[:51] + "." + secret, "pin"},
		{"pin upper case", "brl1.engine:8443." + strings.ToUpper(p) + "." + secret, "pin"},
		{"no pin", "brl1.engine:8443.." + secret, "pin"},
		{"secret short", "brl1.engine:8443." + p + "." + secret[:25], "secret"},
		{"secret lower case", "brl1.engine:8443." + p + "." + strings.ToLower(secret), "secret"},
		{"secret with a 1", "brl1.engine:8443." + p + "." + secret[:25] + "1", "secret"},
		{"no secret", "brl1.engine:8443." + p + ".", "secret"},
		{"something after it", "brl1.engine:8443." + p + "." + secret + ".x", "address"},
		{"too long", "brl1." + strings.Repeat("a", 600) + ":8443." + p + "." + secret, "too long"},
	}
	for _, tt := range tests {
		c, err := wire.ParseCode(tt.code)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to name %q", tt.name, err, tt.want)
			continue
		}
		if c != (wire.Code{}) {
			t.Errorf("%s: refused with %v", tt.name, c)
		}
		if tt.want == "secret" && strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: error tells the secret: %v", tt.name, err)
		}
	}
}

// FuzzParseCode checks that what is read as a code is written the same way.
func FuzzParseCode(f *testing.F) {
	for _, address := range []string{"engine:8443", "engine.example.com:1", "[2001:db8::7]:8443"} {
		f.Add(wire.Code{Address: address, Pin: pin(), Secret: secret}.String())
	}
	f.Add("brl1...")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := wire.ParseCode(s)
		if err != nil {
			return
		}
		if got := c.String(); got != strings.TrimSpace(s) {
			t.Fatalf("ParseCode(%q).String() = %q", s, got)
		}
	})
}
