package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestGuard looks at the words of the guard and at what it refuses. What an access list
// does, only Windows shows.
func TestGuard(t *testing.T) {
	if guard != "O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)" {
		t.Errorf("the guard is %s", guard)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := mkdirGuarded(root); err != nil {
		t.Fatal(err)
	}
	if err := mkdirGuarded(root); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v, want ErrExist", err)
	}
	write(t, filepath.Join(root, "Agent", "keys", "key"), "secret")
	if err := guardTree(root, filepath.Join(root, "Agent")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(root, "Agent", "keys", "key")); got != "secret" {
		t.Errorf("guarded: %q", got)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	write(t, elsewhere, "of others")
	linked := filepath.Join(root, "Agent", "linked")
	if err := os.Link(elsewhere, linked); err != nil {
		t.Fatal(err)
	}
	if err := guardTree(root, filepath.Join(root, "Agent")); err == nil || !strings.Contains(err.Error(), linked+" is a file of another place too") {
		t.Errorf("with a link to another file: %v", err)
	}
	if err := os.Remove(linked); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := trust(windows.Handle(file.Fd()), nil); err == nil || !strings.Contains(err.Error(), "belongs to S-1-") {
		t.Errorf("of somebody who is not trusted: %v", err)
	}
	owners, err := trustedOwners()
	if err != nil || len(owners) != 3 {
		t.Fatalf("trusted are %v, %v", owners, err)
	}
	if err := trust(windows.Handle(file.Fd()), owners); err != nil {
		t.Errorf("of this user: %v", err)
	}
}
