package handlers

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/static/downloads"
	"borealis/store"
)

// driver is a signed library for Windows that does nothing.
func driver(t *testing.T) string {
	t.Helper()
	file := make([]byte, 0x80, 1024)
	copy(file, "MZ")
	binary.LittleEndian.PutUint32(file[0x3c:], uint32(len(file)))
	out := bytes.NewBuffer(append(file, "PE\x00\x00"...))
	header := pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16}
	signature := []byte("signed")
	header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY] = pe.DataDirectory{VirtualAddress: 0x80 + 4 + 20 + 240, Size: uint32(len(signature))}
	for _, part := range []any{pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, SizeOfOptionalHeader: 240}, header, signature} {
		if err := binary.Write(out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// withDriver gives an engine a driver for amd64.
func withDriver(t *testing.T, body string) func(*Config) {
	t.Helper()
	data := t.TempDir()
	drivers, err := downloads.OpenDrivers(data, nil)
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", "amd64", downloads.DriverName), []byte(body), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Drivers = drivers }
}

// TestAgentFile: an active device gets what the engine keeps for it, by its hash, and
// nobody gets anything else.
func TestAgentFile(t *testing.T) {
	t.Parallel()
	kept := driver(t)
	r := newRigWith(t, withDriver(t, kept))
	_, active := r.device("active", store.Active)
	_, pending := r.device("pending", store.Pending)
	a := r.personality(wire.ServerName, active)
	for name, body := range map[string]string{windowsAgent: agents[windowsAgent], linuxAgent: agents[linuxAgent], "the driver": kept} {
		got := a.do(http.MethodGet, wire.PathFile+sumOf(body), "")
		if got.StatusCode != http.StatusOK || got.body != body || got.ContentLength != int64(len(body)) || got.Header.Get("X-Content-Sha256") != sumOf(body) {
			t.Errorf("%s: %d %q", name, got.StatusCode, got.body)
		}
		if got := a.do(http.MethodGet, wire.PathFile+sumOf(body), "", "Range", "bytes=1-2"); got.body != body[1:3] {
			t.Errorf("a part of %s: %d %q", name, got.StatusCode, got.body)
		}
	}
	for _, path := range []string{"", sumOf("a manifest"), sumOf("something else"), strings.ToUpper(sumOf(kept)), sumOf(kept) + "/", windowsAgent, "../channel"} {
		if p := a.do(http.MethodGet, wire.PathFile+path, "").problem(t); p.Code != codeNotFound {
			t.Errorf("%q: %+v", path, p)
		}
	}
	path := wire.PathFile + sumOf(kept)
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodDelete} {
		if got := a.do(method, path, ""); got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != http.MethodGet {
			t.Errorf("%s: %d %v", method, got.StatusCode, got.Header)
		}
	}
	if p := r.personality(wire.ServerName, pending).do(http.MethodGet, path, "").problem(t); p.Code != codePending {
		t.Errorf("a device that waits for approval: %+v", p)
	}
	if p := r.personality(wire.EnrolServerName, active).do(http.MethodGet, path, "").problem(t); p.Code != codeNotFound {
		t.Errorf("a connection that enrols: %+v", p)
	}
	if p := r.browser("ann", access.Admin).do(http.MethodGet, path, "").problem(t); p.Code != codeNotFound {
		t.Errorf("a browser: %+v", p)
	}
	unknown, _ := r.newcomer()
	unknown.http.Transport.(*http.Transport).TLSClientConfig.ServerName = wire.ServerName
	if response, err := unknown.http.Do(unknown.request(http.MethodGet, path, "")); err == nil {
		response.Body.Close()
		t.Errorf("a machine that is not enrolled: %d", response.StatusCode)
	}
}

// TestAgentFilesAtATime: one agent cannot take what the others need.
func TestAgentFilesAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, id := r.device("one", store.Active)
	_, other := r.device("other", store.Active)
	path := wire.PathFile + sumOf(agents[windowsAgent])
	for range maxDeviceDownloads {
		if _, err := r.agentDownloads.enter(one.ID); err != nil {
			t.Fatal(err)
		}
	}
	if p := r.personality(wire.ServerName, id).do(http.MethodGet, path, "").problem(t); p.Code != codeTooMany {
		t.Errorf("%+v", p)
	}
	if a := r.personality(wire.ServerName, other).do(http.MethodGet, path, ""); a.StatusCode != http.StatusOK {
		t.Errorf("another device: %d %s", a.StatusCode, a.body)
	}
}
