package factor

import (
	"regexp"
	"strings"
	"testing"
)

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	codes := NewRecoveryCodes()
	if len(codes) != recoveryCodes {
		t.Fatalf("%d codes", len(codes))
	}
	seen := make(map[[32]byte]bool)
	for _, code := range codes {
		if !regexp.MustCompile(`^([a-z2-7]{4}-){3}[a-z2-7]{4}$`).MatchString(code) {
			t.Errorf("the code is %s", code)
		}
		hash, ok := RecoveryHash("ann", code)
		if !ok || seen[hash] {
			t.Errorf("%s: %v, or it came twice", code, ok)
		}
		seen[hash] = true
		for _, typed := range []string{strings.ToUpper(code), strings.ReplaceAll(code, "-", ""), " " + strings.ReplaceAll(code, "-", " ") + " "} {
			if again, ok := RecoveryHash("ann", typed); !ok || again != hash {
				t.Errorf("%q is not %q", typed, code)
			}
		}
		if other, _ := RecoveryHash("bob", code); other == hash {
			t.Error("the code of one operator is another one's")
		}
	}
	for _, typed := range []string{"", "123456", "abcd-abcd-abcd-abc", "abcd-abcd-abcd-abcde", "abcd-abcd-abcd-abc1", strings.Repeat("a", 1000)} {
		if _, ok := RecoveryHash("ann", typed); ok {
			t.Errorf("%q can be a code", typed)
		}
	}
}
