package limits

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := Load(filepath.Join(dir, "policy.json"))
	if at, stopped := p.Stopped(); stopped || !at.IsZero() || len(p.Sentences()) != 0 {
		t.Errorf("nobody stopped it: %v, %v, %q", at, stopped, p.Sentences())
	}
	if err := p.Release(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("released before it was stopped: %v", err)
	}
	before := time.Now().Add(-2 * time.Second)
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if at, stopped := p.Stopped(); !stopped || at.Before(before) {
			t.Errorf("stopped: %v since %v", stopped, at)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.json"), []byte(`{"no_terminal":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := p.Sentences(); len(s) != 2 || !strings.Contains(s[0], "panic stop") {
		t.Errorf("it says %q", s)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	if _, stopped := p.Stopped(); stopped {
		t.Error("it is stopped after the release")
	}
	if err := Load(filepath.Join(dir, "none", "policy.json")).Stop(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where nothing is: %v", err)
	}
}
