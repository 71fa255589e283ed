package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInstallationGivesUpAnUpdate: an update that is under way is forgotten when another
// program comes in its place, remembered again when that is undone, and else left alone.
func TestInstallationGivesUpAnUpdate(t *testing.T) {
	t.Parallel()
	for _, differs := range []bool{true, false} {
		i := subject(t, "new")
		i.differs = differs
		if err := os.MkdirAll(i.agent(), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(i.agent(), "update.json"), "under way")
		before := tree(t, i.agent())
		_, undo, err := i.update(t.Context())
		if err != nil || differs != (undo != nil) {
			t.Fatalf("differs %v: %v", differs, err)
		}
		if _, err := os.Stat(filepath.Join(i.agent(), "update.json")); differs != os.IsNotExist(err) {
			t.Errorf("differs %v: %v", differs, err)
		}
		if undo == nil {
			continue
		}
		if err := undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, tree(t, i.agent())); diff != "" {
			t.Errorf("undone (-before +after):\n%s", diff)
		}
		if _, _, err := i.update(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(i.agent()); err != nil || len(left) != 0 {
			t.Errorf("tidied, %v is left: %v", left, err)
		}
	}
}
