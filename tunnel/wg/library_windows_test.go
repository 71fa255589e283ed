//go:build winetest

package wg

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// TestLoadRefuses tries files that are no driver.
func TestLoadRefuses(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name, "wireguard.dll")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	double, err := os.ReadFile(f.dll)
	if err != nil {
		t.Fatal(err)
	}
	loadFresh := func(path string) error {
		library.mu.Lock()
		loaded := library.path
		library.path = ""
		library.mu.Unlock()
		defer func() { library.path = loaded }()
		return load(path)
	}
	for path, says := range map[string]string{
		"":                                   "want the full path",
		"wireguard.dll":                      "want the full path",
		`C:\wireguard.sys`:                   "want the full path",
		filepath.Join(dir, "wireguard.dll"):  "load ",
		put("text", []byte("hello")):         "load ",
		put("another", append(double, 'x')):  "another file of that name",
		put("short", double[:len(double)/4]): "load ",
	} {
		if err := loadFresh(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", path, err, says)
		}
	}
	if err := load(filepath.Join(dir, "wireguard.dll")); err == nil || !strings.Contains(err.Error(), "works with") {
		t.Errorf("a second library: %v", err)
	}
	system, err := windows.LoadLibraryEx("version.dll", 0, windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkLibrary(system); err == nil {
		t.Error("version.dll passes for the driver")
	}
}

// TestDriverLog writes down what the driver says: trouble as warnings, but not all of it.
func TestDriverLog(t *testing.T) {
	f := newFake(t)
	var text strings.Builder
	a, err := openAdapter(t.Context(), AdapterConfig{DLL: f.dll, Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))}, f.host())
	if err != nil {
		t.Fatal(err)
	}
	say := func(level uintptr, line string) {
		line16, err := windows.UTF16PtrFromString(line)
		if err != nil {
			t.Fatal(err)
		}
		f.call("FakeSay", level, uintptr(unsafe.Pointer(line16)))
	}
	say(0, "routine")
	for range 3 * warnBurst {
		say(2, "trouble")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	say(2, "afterwards")
	got := text.String()
	if !strings.Contains(got, "level=DEBUG msg=\"wireguard driver\" reason=routine") ||
		strings.Count(got, "level=WARN msg=\"wireguard driver is in trouble\" err=trouble") != warnBurst || strings.Contains(got, "afterwards") {
		t.Error(got)
	}
}
