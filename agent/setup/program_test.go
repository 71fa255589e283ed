package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgramIsReplacedAndPutBack(t *testing.T) {
	t.Parallel()
	for _, old := range []string{"", "old", "second"} {
		i := subject(t, "second")
		dir := filepath.Dir(i.Program)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if old != "" {
			write(t, i.Program, old)
		}
		before := tree(t, dir)
		i.compare(t)
		outcome, undo, err := i.program(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, i.Program); got != "second" {
			t.Errorf("over %q: the program is %q", old, got)
		}
		if (old == "second") != (outcome == present) {
			t.Errorf("over %q: %s", old, outcome)
		}
		if undo == nil {
			continue
		}
		if err := undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("over %q, undone (-before +after):\n%s", old, diff)
		}
		if _, _, err = i.program(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{".": "/", "agent.exe": "second"}, tree(t, dir)); diff != "" {
			t.Errorf("over %q, tidied (-want +got):\n%s", old, diff)
		}
	}
}

func TestProgramThatCannotBeCopied(t *testing.T) {
	t.Parallel()
	i := subject(t, "new")
	write(t, i.Program, "old")
	before := tree(t, filepath.Dir(i.Program))
	i.Source += ".absent"
	i.differs = true
	if _, undo, err := i.program(t.Context()); err == nil || undo != nil {
		t.Errorf("without a source: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, filepath.Dir(i.Program))); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if _, err := same(i.Source, i.Program); err == nil {
		t.Error("a program that is not there can be compared")
	}
}
