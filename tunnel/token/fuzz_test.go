package token

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzCheck feeds tokens to Check, as they are and signed by the engine. Nothing
// may pass unsigned but a genuine token; what passes must sign to the same again.
func FuzzCheck(f *testing.F) {
	tok, err := Sign(seeded(1), kid, claims())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tok)
	for _, s := range []string{"", "v4.public.", "v4.local.AAAA", tok[:100], strings.Replace(tok, "v4", "v3", 1), tok + "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Check(s, known(), want(), issued())
		if err != nil {
			for _, is := range []error{ErrMalformed, ErrSignature, ErrExpired, ErrEarly, ErrForeign} {
				if errors.Is(err, is) {
					return
				}
			}
			t.Fatalf("Check(%q): %v is none of the errors promised", s, err)
		}
		for id, key := range map[string]ed25519.PrivateKey{kid: seeded(1), otherKid: seeded(2)} {
			if again, err := Sign(key, id, c); err == nil && again == s {
				return
			}
		}
		t.Fatalf("Check(%q) passes, but no key signs that", s)
	})
}

// FuzzClaims feeds signed nonsense to what reads the claims: what passes must
// come out of encode as it went in.
func FuzzClaims(f *testing.F) {
	b, err := encode(claims())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"iss":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(c)
		if err != nil {
			t.Fatalf("%s decodes to %v, which does not encode: %v", b, c, err)
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("%s encodes to %s, which does not decode: %v", b, again, err)
		}
		if diff := cmp.Diff(c, back, sameAddr, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("claims (-first +second):\n%s", diff)
		}
	})
}
