package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent/release"
)

// longest is how long a test waits for what must happen.
const longest = 60 * time.Second

// device is a place with a service that runs the release 1.
func device(t *testing.T, patience string) Place {
	t.Helper()
	dir := t.TempDir()
	p := Place{Exe: filepath.Join(dir, "program", "agent.exe"), Data: filepath.Join(dir, "data")}
	for _, folder := range []string{filepath.Dir(p.Exe), filepath.Join(p.Data, "Agent")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	content := program(t, 1, good)
	syscall.ForkLock.RLock() // A program that a child has open for writing does not start.
	err := os.WriteFile(p.Exe, content, 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if patience != "" {
		if err := os.WriteFile(filepath.Join(p.Data, "patience"), []byte(patience), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.service().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		defer cancel()
		_ = kill(filepath.Join(p.Data, "watcher"))
		p.until(ctx, t, func() bool {
			unlock, err := lock(p.lockPath())
			if err == nil {
				unlock()
			}
			return err == nil
		})
		if err := p.service().Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.Data, "watch.log"))
			t.Logf("the watcher's log:\n%s\nnotes: %q", log, p.notes(t))
		}
	})
	p.started(t, 1)
	return p
}

// until waits until something is so.
func (p Place) until(ctx context.Context, t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("nothing came of it")
		}
	}
}

// noted waits for a line of the service's program.
func (p Place) noted(t *testing.T, ok func(lines []string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	p.until(ctx, t, func() bool { return ok(p.notes(t)) })
}

func (p Place) notes(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Data, "notes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Log(err) // Somebody writes it.
		return nil
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// started waits until a release was the last that started.
func (p Place) started(t *testing.T, sequence int64) {
	t.Helper()
	want := "started " + string(rune('0'+sequence))
	p.noted(t, func(lines []string) bool { return lines[len(lines)-1] == want })
}

// stage stages a program and returns its release.
func (p Place) stage(t *testing.T, sequence int64, content []byte) release.Manifest {
	t.Helper()
	sum := sha256.Sum256(content)
	f := release.File{Name: "agent.exe", OS: "any", Arch: "any", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}
	syscall.ForkLock.RLock()
	err := p.Stage(f, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return release.Manifest{Version: "v" + string(rune('0'+sequence)), Sequence: sequence, Files: []release.File{f}}
}

// over waits until the watcher has gone.
func (p Place) over(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	p.until(ctx, t, func() bool {
		unlock, err := lock(p.lockPath())
		if err == nil {
			unlock()
		}
		return err == nil
	})
}

// runs is the release that is in place.
func (p Place) runs() int64 {
	n, _ := partOf(p.Exe)
	return n
}

// beside lists what is beside the program.
func (p Place) beside(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(p.Exe))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	p := device(t, "")
	if err := p.Begin("v1", p.stage(t, 2, program(t, 2, good))); err != nil {
		t.Fatal(err)
	}
	p.started(t, 2)
	p.over(t)
	if s, err := p.Read(); err != nil || s.Phase != Confirmed || s.From != "v1" || s.To != "v2" || p.runs() != 2 {
		t.Errorf("the state is %+v, %v; release %d runs", s, err, p.runs())
	}
	if !slices.Contains(p.notes(t), "confirmed v2 ") {
		t.Errorf("the new program noted %q", p.notes(t))
	}

	// The next start removes the old program, and there is nothing more to tell.
	if err := p.service().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(p.notes(t))
	if err := p.service().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.noted(t, func(lines []string) bool { return len(lines) > before && lines[len(lines)-1] == "started 2" })
	if got := p.beside(t); !slices.Equal(got, []string{"agent.exe"}) || len(p.notes(t)) != before+1 {
		t.Errorf("beside the program is %q, it noted %q", got, p.notes(t))
	}
	if _, err := p.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state is still there: %v", err)
	}
}

// TestRollBack has programs that do not work, each in its own way.
func TestRollBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content func(*testing.T) []byte
		why     string
	}{
		"it does not check in": {func(t *testing.T) []byte { return program(t, 2, mute) }, "did not check in"},
		"it ends at once":      {func(t *testing.T) []byte { return program(t, 2, brief) }, "did not check in"},
		"it is no program":     {func(*testing.T) []byte { return []byte("no program") }, "does not start"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := device(t, "1500ms")
			if err := p.Begin("v1", p.stage(t, 2, c.content(t))); err != nil {
				t.Fatal(err)
			}
			p.noted(t, func(lines []string) bool {
				return slices.ContainsFunc(lines, func(l string) bool {
					return strings.HasPrefix(l, "rolled_back v2 ") && strings.Contains(l, c.why)
				})
			})
			p.over(t)
			p.started(t, 1)
			if p.runs() != 1 {
				t.Errorf("release %d is in place", p.runs())
			}
			if _, err := p.Read(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was told is still there: %v", err)
			}
		})
	}
}

// TestWatcherDies kills the watcher; the new program starts the next one, which takes the
// update back as the first would have.
func TestWatcherDies(t *testing.T) {
	t.Parallel()
	p := device(t, "")
	if err := p.Begin("v1", p.stage(t, 2, program(t, 2, mute))); err != nil {
		t.Fatal(err)
	}
	p.started(t, 2)
	if err := kill(filepath.Join(p.Data, "watcher")); err != nil {
		t.Fatal(err)
	}
	p.over(t)
	if err := p.service().Stop(t.Context()); err != nil { // The device is switched off.
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Data, "patience"), []byte("1s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.service().Start(t.Context()); err != nil { // And on.
		t.Fatal(err)
	}
	p.noted(t, func(lines []string) bool {
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "rolled_back v2 ") })
	})
	p.over(t)
	p.started(t, 1)
}

// TestBeginUndone has updates that cannot begin: the device is as before.
func TestBeginUndone(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, Place){
		"nothing is staged": func(t *testing.T, p Place) {
			if err := os.Remove(p.staged()); err != nil {
				t.Fatal(err)
			}
		},
		"the watcher does not begin": func(t *testing.T, p Place) {
			if err := os.WriteFile(filepath.Join(p.Data, "patience"), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"another watcher is at work": func(t *testing.T, p Place) {
			unlock, err := lock(p.lockPath())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(unlock)
		},
		"the state cannot be written": func(t *testing.T, p Place) {
			if err := os.Mkdir(p.statePath(), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(p.statePath()) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := device(t, "")
			m := p.stage(t, 2, program(t, 2, good))
			spoil(t, p)
			if err := p.Begin("v1", m); err == nil {
				t.Fatal("it begins")
			}
			if p.runs() != 1 {
				t.Errorf("release %d is in place", p.runs())
			}
			if info, err := os.Stat(p.statePath()); err == nil && !info.IsDir() {
				t.Error("a state is left")
			}
			if running, err := p.service().Running(); !running || err != nil {
				t.Errorf("the service does not run: %v", err)
			}
			if name == "another watcher is at work" {
				return // The staged program is the next attempt's to remove.
			}
			if got := p.beside(t); !slices.Equal(got, []string{"agent.exe"}) {
				t.Errorf("beside the program is %q", got)
			}
		})
	}
}

func TestStageRefuses(t *testing.T) {
	t.Parallel()
	content := []byte("a program")
	sum := sha256.Sum256(content)
	want := release.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}
	full := errors.New("no space left on device")
	for name, fill := range map[string]func(io.Writer) error{
		"another file":  func(w io.Writer) error { _, err := w.Write([]byte("a Program")); return err },
		"a part":        func(w io.Writer) error { _, err := w.Write(content[:4]); return err },
		"more":          func(w io.Writer) error { _, err := w.Write(append(bytes.Clone(content), 0)); return err },
		"nothing":       func(io.Writer) error { return nil },
		"the disk full": func(w io.Writer) error { _, err := w.Write(content[:4]); return errors.Join(err, full) },
	} {
		p := Place{Exe: filepath.Join(t.TempDir(), "agent.exe"), Data: t.TempDir()}
		err := p.Stage(want, fill)
		if err == nil || name == "the disk full" && !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
		if got := p.beside(t); len(got) != 0 {
			t.Errorf("%s: %q is left", name, got)
		}
	}
	p := Place{Exe: filepath.Join(t.TempDir(), "missing", "agent.exe")}
	if err := p.Stage(want, nil); err == nil {
		t.Error("it stages into a folder that is not there")
	}
}
