//go:build !windows

package logfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLogTakenAway is made again, with its folder, by the next write. On Windows what is open cannot
// be taken away.
func TestLogTakenAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "Logs", "log")
	f := opened(t, Config{Path: path}, time.Now)
	write(t, f, "one\n")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	has(t, path, "two\n")
	if err := os.Rename(path, path+".mine"); err != nil { // As logrotate does.
		t.Fatal(err)
	}
	write(t, f, "three\n")
	has(t, path, "three\n", "")
	if got := content(t, path+".mine"); got != "two\n" {
		t.Errorf("what was moved has %q", got)
	}

	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil { // A folder that cannot be made.
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("lost\n")); err == nil {
		t.Error("it was written nowhere, and nobody says so")
	}
	if err := os.Remove(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	write(t, f, "four\n")
	has(t, path, "four\n")
}
