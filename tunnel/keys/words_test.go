package keys_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"borealis/tunnel/keys"
)

func TestWordList(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	// Of english.txt in the repository of BIP-0039.
	const published = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != published {
		t.Errorf("the list has the hash %x", sum)
	}
	list := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(list) != 2048 || list[0] != "abandon" || list[2047] != "zoo" || !slices.IsSorted(list) {
		t.Errorf("%d words from %s to %s", len(list), list[0], list[len(list)-1])
	}
	four := make(map[string]bool)
	for _, w := range list {
		four[w[:min(4, len(w))]] = true
	}
	if len(four) != len(list) {
		t.Errorf("%d words begin in %d ways", len(list), len(four))
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	// Worked out apart from this code: the first 66 bits of the SHA-256 of
	// "borealis words v1", a zero byte and the pin.
	var counting keys.Pin
	for i := range counting {
		counting[i] = byte(i)
	}
	for pin, want := range map[keys.Pin]string{
		{}:       "awful follow author pistol ripple piano",
		counting: "mixture quick badge better slogan kiss",
	} {
		if got := pin.Words(); got != want {
			t.Errorf("the words of %s are %q, want %q", pin, got, want)
		}
	}
	seen := make(map[string]bool)
	for i := range 256 {
		pin := counting
		pin[31] ^= byte(i)
		seen[pin.Words()] = true
	}
	if len(seen) != 256 {
		t.Errorf("256 pins have %d fingerprints", len(seen))
	}
}
