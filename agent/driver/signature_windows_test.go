//go:build winetest

package driver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// built is where .ci/wine/fakewg leaves its files.
const built = "../../.ci/out/fakewg"

// TestSignature checks files that a test authority vouches for. Wine takes any authority's word;
// real Windows would refuse these files, and the test is not for it.
func TestSignature(t *testing.T) {
	check := func(name, says string) {
		t.Helper()
		err := signed(filepath.Join(built, name))
		if says == "" && err == nil {
			return
		}
		if says == "" || !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", name, err, says)
		}
	}
	check("wireguard.dll", "")
	check("unsigned.dll", ErrSignature.Error())
	check("foreign.dll", `but by "Somebody Else"`)
	check("absent.dll", ErrSignature.Error())

	changed := filepath.Join(t.TempDir(), "wireguard.dll")
	content, err := os.ReadFile(filepath.Join(built, "wireguard.dll"))
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(changed, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := signed(changed); !errors.Is(err, ErrSignature) {
		t.Errorf("one bit changed: %v", err)
	}
}

// TestFindSigned finds a file as the agent does.
func TestFindSigned(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(built, "wireguard.dll"))
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	replace(t, Path(data, "amd64"), content)
	d, err := Find(data)
	if err != nil {
		t.Fatal(err)
	}
	if d.Version != "1.1" || !filepath.IsAbs(d.Path) {
		t.Errorf("got %+v", d)
	}
}
