package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	path := filepath.Join(data, "Agent", "Logs", "reverse_tunnel.log")
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	line := []byte(strings.Repeat("x", 99) + "\n")
	for i, want := range []int64{300, 600} { // It goes on where it was.
		l, err := openLog(data)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if n, err := l.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := size(path); got != want {
			t.Errorf("opening %d: it has %d bytes, want %d", i+1, got, want)
		}
	}
	l, err := openLog(data)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.limit = 1000
	for range 95 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if got, old := size(path), size(path+".1"); got != 100 || old != 1000 { // 600 + 9,500 bytes.
		t.Errorf("the log has %d bytes and the older one %d", got, old)
	}
	if _, err := l.Write(make([]byte, 2000)); err != nil {
		t.Errorf("a line longer than the log: %v", err)
	}
	if err := os.RemoveAll(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(line); err != nil || size(path) != 100 {
		t.Errorf("when it cannot be put aside it has %d bytes, %v", size(path), err)
	}
}
