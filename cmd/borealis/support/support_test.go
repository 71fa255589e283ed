package support

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestNewestLines are whole ones from the end, across files.
func TestNewestLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	for i, text := range []string{"five\nsix\n", "three\nfour\n", "one\ntwo\n"} {
		name := path
		if i > 0 {
			name = fmt.Sprintf("%s.%d", path, i)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int64]string{
		1000: "one\ntwo\nthree\nfour\nfive\nsix\n", 15: "four\nfive\nsix\n", 9: "five\nsix\n", 6: "six\n", 3: "",
	} {
		got, err := newestLines(path, limit)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes: %q %v, want %q", limit, got, err, want)
		}
	}
	if _, err := newestLines(path+"none", 1); err == nil {
		t.Error("a log that is not there is no error")
	}
}
