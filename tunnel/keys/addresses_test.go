package keys_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/keys"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	check := func(what string, want keys.Addresses) {
		t.Helper()
		got, err := keys.ReadAddresses(dir)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	check("before", keys.Addresses{})
	announced := []string{"a.example:1", "[2001:db8::1]:2", "192.0.2.3:3"}
	if err := keys.SaveAnnounced(dir, announced); err != nil {
		t.Fatal(err)
	}
	if err := keys.SaveMoved(dir, "moved.example:8443"); err != nil {
		t.Fatal(err)
	}
	want := keys.Addresses{Moved: "moved.example:8443", Announced: announced}
	check("saved", want)
	for _, bad := range []string{"nonsense", ":1", "host:", "host:0", "host:65536"} {
		if err := keys.SaveMoved(dir, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if err := keys.SaveAnnounced(dir, []string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := keys.SaveAnnounced(dir, slices.Repeat([]string{"a.example:1"}, 4)); err == nil {
		t.Error("four are taken")
	}
	check("after what was refused", want)

	path := filepath.Join(dir, "addresses.json")
	for _, damage := range []string{"", "{}{}", `{"moved":"x"}`, `{"pin":"x"}`, `{"announced":["a:1","a:2","a:3","a:4"]}`} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := keys.ReadAddresses(dir); err == nil || !strings.Contains(err.Error(), "addresses.json is damaged") {
			t.Errorf("%q is read as %+v, %v", damage, got, err)
		}
	}
	if err := keys.SaveMoved(dir, ""); err != nil { // What is damaged is given up.
		t.Fatal(err)
	}
	check("mended", keys.Addresses{})
}
