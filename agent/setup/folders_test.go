package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFoldersAreMadeAndRemoved(t *testing.T) {
	t.Parallel()
	i := subject(t, "new")
	dir := filepath.Dir(i.Source)
	before := tree(t, dir)
	outcome, undo, err := i.folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(outcome, "made "+i.Data+", ") {
		t.Errorf("it %s", outcome)
	}
	for _, want := range []string{
		filepath.Dir(i.Program), filepath.Join(i.Data, "Agent", "Logs"),
		filepath.Join(i.Data, "Dependencies", "VPN_Tunnel_Adapter", "amd64"),
		filepath.Join(i.Data, "Dependencies", "VPN_Tunnel_Adapter", "arm64"),
	} {
		if info, err := os.Stat(want); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", want, err)
		}
	}
	i.journal.say("folders", outcome)
	if outcome, again, err := i.folders(t.Context()); outcome != present || again != nil || err != nil {
		t.Errorf("again: %s, %v", outcome, err)
	}
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("undone (-before +after):\n%s", diff)
	}
}

func TestFoldersThatCannotBeMade(t *testing.T) {
	t.Parallel()
	i := subject(t, "new")
	write(t, filepath.Join(i.Data, "Dependencies"), "a file")
	write(t, filepath.Join(i.Data, "mine"), "kept")
	dir := filepath.Dir(i.Source)
	before := tree(t, dir)
	_, undo, err := i.folders(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Dependencies") {
		t.Fatalf("a file in the way: %v", err)
	}
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("undone (-before +after):\n%s", diff)
	}
}
