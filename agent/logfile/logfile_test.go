package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a clock that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// opened opens a log that is closed with the test.
func opened(t *testing.T, c Config, now func() time.Time) *File {
	t.Helper()
	f, err := open(c, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// write writes a line that must be taken.
func write(t *testing.T, f *File, line string) {
	t.Helper()
	if n, err := f.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("write %q: %d, %v", line, n, err)
	}
}

// content is what is in a file; "" when it is not there.
func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// has compares a log and its older files with what is wanted, the newest first.
func has(t *testing.T, path string, want ...string) {
	t.Helper()
	for n, text := range want {
		at := path
		if n > 0 {
			at = fmt.Sprint(path, ".", n)
		}
		if got := content(t, at); got != text {
			t.Errorf("%s has %q, want %q", filepath.Base(at), got, text)
		}
	}
	beside, err := filepath.Glob(path + ".*")
	if err != nil || len(beside) > len(want)-1 {
		t.Errorf("beside it are %v, %v, want %d", beside, err, len(want)-1)
	}
}

func TestSizeIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "Agent", "Logs", "reverse_tunnel.log")
	c := Config{Path: path, MaxSize: 10, Keep: 2}
	f := opened(t, c, time.Now)
	for _, line := range []string{"one 6\n", "two\n", "three\n", "four\n"} {
		write(t, f, line)
	}
	has(t, path, "four\n", "three\n", "one 6\ntwo\n")
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for _, c := range []Config{{Path: path, MaxSize: -1}, {Path: path, MaxAge: -1}, {Path: path, Keep: -1}, {Path: path, Keep: maxKeep + 1}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	f, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := (Config{Path: path, MaxSize: 10 << 20, MaxAge: 30 * 24 * time.Hour, Keep: 9}); f.c != want {
		t.Errorf("the zero configuration means %+v, want %+v", f.c, want)
	}
}

// TestGoesOn where it was, on the same day.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for _, line := range []string{"one\n", "two\n"} {
		f := opened(t, Config{Path: path, MaxSize: 8}, time.Now)
		write(t, f, line)
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("after\n")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after the closing: %v", err)
		}
	}
	has(t, path, "one\ntwo\n")
	write(t, opened(t, Config{Path: path, MaxSize: 8}, time.Now), "x\n") // What was there counts.
	has(t, path, "x\n", "one\ntwo\n")
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
}

// TestDayBegins a new file, once, whether the log was open at midnight or not.
func TestDayBegins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	at := &clock{at: time.Now()}
	f := opened(t, Config{Path: path, Keep: 3}, at.now)
	write(t, f, "today\n")
	at.at = at.at.AddDate(0, 0, 1)
	write(t, f, "tomorrow\n")
	write(t, f, "still\n")
	has(t, path, "tomorrow\nstill\n", "today\n")
	f.Close()

	yesterday := time.Now().AddDate(0, 0, -1)
	if err := os.Chtimes(path, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	f = opened(t, Config{Path: path, Keep: 3}, time.Now)
	has(t, path, "tomorrow\nstill\n", "today\n") // Who only opens it changes nothing.
	write(t, f, "new\n")
	has(t, path, "new\n", "tomorrow\nstill\n", "today\n")
}

// TestOldFilesGo when a file is begun, and at the opening; and there are never more than Keep.
func TestOldFilesGo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	at := &clock{at: time.Now()}
	c := Config{Path: path, MaxSize: 4, MaxAge: 30 * 24 * time.Hour, Keep: 3}
	f := opened(t, c, at.now)
	for n := range 6 {
		write(t, f, fmt.Sprintf("%03d\n", n))
	}
	has(t, path, "005\n", "004\n", "003\n", "002\n")
	age := func(n int, days int) {
		then := at.at.AddDate(0, 0, -days)
		if err := os.Chtimes(fmt.Sprint(path, ".", n), then, then); err != nil {
			t.Fatal(err)
		}
	}
	age(2, 29)
	age(3, 31)
	write(t, f, "006\n")
	has(t, path, "006\n", "005\n", "004\n", "003\n")
	age(2, 31)
	age(3, 31)
	write(t, f, "007\n")
	has(t, path, "007\n", "006\n", "005\n")
	age(1, 31)
	age(2, 31)
	f.Close()
	opened(t, c, at.now)
	has(t, path, "007\n")
}

// TestWhatIsInTheWay of the older files costs them, not the log.
func TestWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	f := opened(t, Config{Path: path, MaxSize: 4, Keep: 1}, time.Now)
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one\n", "two\n", "long line\n"} {
		write(t, f, line)
		if got := content(t, path); got != line {
			t.Errorf("it has %q, want %q", got, line)
		}
	}
}

// TestLinesStayWhole whoever writes at the same time, in order, and none is lost.
func TestLinesStayWhole(t *testing.T) {
	t.Parallel()
	const writers, lines = 8, 200
	path := filepath.Join(t.TempDir(), "log")
	f := opened(t, Config{Path: path, MaxSize: 1000, Keep: maxKeep}, time.Now)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range lines {
				if _, err := fmt.Fprintf(f, "writer %d line %03d\n", w, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var text bytes.Buffer
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for n := len(files) - 1; n > 0; n-- {
		older := content(t, fmt.Sprint(path, ".", n))
		if len(older) > 1000 {
			t.Errorf("file %d has %d bytes", n, len(older))
		}
		text.WriteString(older)
	}
	text.WriteString(content(t, path))
	next := make(map[string]int)
	for line := range strings.Lines(text.String()) {
		var w, n int
		if _, err := fmt.Sscanf(line, "writer %d line %03d\n", &w, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		key := fmt.Sprint(w)
		if n != next[key] {
			t.Fatalf("writer %d: line %d comes where %d should", w, n, next[key])
		}
		next[key]++
	}
	for w := range writers {
		if next[fmt.Sprint(w)] != lines {
			t.Errorf("writer %d: %d lines of %d", w, next[fmt.Sprint(w)], lines)
		}
	}
}
