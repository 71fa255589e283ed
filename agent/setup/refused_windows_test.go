package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"borealis/agent/service"
)

func TestOtherEngine(t *testing.T) {
	d := newDevice(t)
	d.install(t)
	before := d.state(t)
	d.Pin = "OTHER"
	if _, err := Install(t.Context(), d.Config); !errors.Is(err, ErrOtherEngine) || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("another engine: %v", err)
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("refused (-before +after):\n%s", diff)
	}
	d.Replace = true
	if r := d.install(t); r.Device == nil || read(t, filepath.Join(d.keys(), "engine.json")) != "OTHER" {
		t.Errorf("replaced: %+v", r)
	}
	kept, err := filepath.Glob(d.keys() + ".replaced-*")
	if err != nil || len(kept) != 1 || read(t, filepath.Join(kept[0], "engine.json")) != "PIN" {
		t.Errorf("kept is %v, %v", kept, err)
	}
}

func TestServiceNameTaken(t *testing.T) {
	d := newDevice(t)
	other := must(os.Executable())
	if _, err := service.Install(service.Config{Name: d.names.service, Display: "Somebody's", Exe: other, Args: []string{"service", "of", "others"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Remove(context.Background(), d.names.service) })
	before := d.state(t)
	if _, err := Install(t.Context(), d.Config); !errors.Is(err, service.ErrTaken) || !strings.Contains(err.Error(), other) {
		t.Errorf("taken: %v", err)
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("taken (-before +after):\n%s", diff)
	}
	if done := d.uninstall(t, true); len(done.Removed) != 0 || len(done.Left) != 1 || !strings.Contains(done.Left[0], other) {
		t.Errorf("uninstalled: %+v", done)
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("uninstalled (-before +after):\n%s", diff)
	}
}

func TestNoSpace(t *testing.T) {
	d := newDevice(t)
	d.Source = filepath.Join(d.dir, "huge.exe")
	write(t, d.Source, "")
	if err := os.Truncate(d.Source, 8<<40); err != nil {
		t.Fatal(err)
	}
	_, err := Install(t.Context(), d.Config)
	if rest := os.Remove(d.Source); rest != nil {
		t.Fatal(rest)
	}
	if err == nil || !strings.Contains(err.Error(), "MB are needed: free some space and try again") {
		t.Errorf("no space: %v", err)
	}
	if left := tree(t, d.dir); len(left) != 1 {
		t.Errorf("it leaves %v", left)
	}
}

// TestProgramHeld installs over a program that somebody keeps from being moved.
func TestProgramHeld(t *testing.T) {
	d := newDevice(t)
	d.install(t)
	d.Source = lengthened(t, d.Source, d.dir)
	before := d.state(t)
	path, err := windows.UTF16PtrFromString(d.Program)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Install(t.Context(), d.Config)
	windows.CloseHandle(h)
	if err == nil || !strings.Contains(err.Error(), "install: program: another program holds it open") || !strings.Contains(err.Error(), "as it was before") {
		t.Errorf("held: %v", err)
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("held (-before +after):\n%s", diff)
	}
	d.install(t)
}
