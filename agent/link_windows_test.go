//go:build winetest

package agent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"borealis/agent/driver"
	"borealis/agent/wire"
)

// newDriverEngine is an engine that keeps the test double of wireguard.dll for its agents, which
// .ci/wine/fakewg makes, and serves content in its place.
func newDriverEngine(t *testing.T, change func(double []byte) (served []byte)) *engine {
	t.Helper()
	double, err := os.ReadFile("../.ci/out/fakewg/wireguard.dll")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(double)
	f := wire.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(double))}
	served := change(bytes.Clone(double))
	e := newEngine(t)
	e.welcome = func(w *wire.Welcome) { w.Driver = &f }
	e.files = func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.URL.Path, wire.PathFile) != f.SHA256 {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Write(served)
	}
	return e
}

// TestDriverFromEngine gets a driver from the engine and tries to stand on it at the next start,
// which Wine forbids: it has no Windows Filtering Platform. The agent says so, and works.
func TestDriverFromEngine(t *testing.T) {
	e := newDriverEngine(t, func(double []byte) []byte { return double })
	d := newDevice(t, e)
	t.Cleanup(func() { unload(t) })
	if c := e.channel(t); c.hello.Link != "netstack" {
		t.Errorf("the tunnels stand on %s", c.hello.Link)
	}
	d.log.expect(t, "driver_kept")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	path := driver.Path(d.data, "amd64")
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}

	d.run(t)
	if c := e.channel(t); c.hello.Link != "netstack" {
		t.Errorf("the tunnels stand on %s", c.hello.Link)
	}
	d.log.expect(t, "driver_unusable", "filter the adapter", "Base Filtering Engine")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(d.log.String(), "driver_kept"); n != 1 {
		t.Errorf("kept %d times", n)
	}
}

// unload takes the library out of this process, for its file is to be deleted. Nothing may call it
// any more.
func unload(t *testing.T) {
	t.Helper()
	name, err := windows.UTF16PtrFromString("wireguard.dll")
	if err != nil {
		t.Fatal(err)
	}
	var library windows.Handle
	for windows.GetModuleHandleEx(windows.GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, name, &library) == nil {
		if err := windows.FreeLibrary(library); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDriverForged keeps no driver that was changed on its way.
func TestDriverForged(t *testing.T) {
	e := newDriverEngine(t, func(double []byte) []byte { double[len(double)/2] ^= 1; return double })
	d := newDevice(t, e)
	e.channel(t)
	d.log.expect(t, "driver_not_kept")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(driver.Path(d.data, "amd64")), "*")); err != nil || left != nil {
		t.Errorf("it has left %v, %v", left, err)
	}
}

// TestDriverOfNobody keeps no driver that nobody has signed.
func TestDriverOfNobody(t *testing.T) {
	unsigned, err := os.ReadFile("../.ci/out/fakewg/unsigned.dll")
	if err != nil {
		t.Fatal(err)
	}
	e := newDriverEngine(t, func([]byte) []byte { return unsigned })
	sum := sha256.Sum256(unsigned)
	e.welcome = func(w *wire.Welcome) {
		w.Driver = &wire.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(unsigned))}
	}
	e.files = func(w http.ResponseWriter, _ *http.Request) { w.Write(unsigned) }
	d := newDevice(t, e)
	e.channel(t)
	d.log.expect(t, "driver_not_kept", driver.ErrSignature.Error())
}
