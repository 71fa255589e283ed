package engine

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
	"borealis/handlers"
	"borealis/store"
	"borealis/tunnel/keys"
)

// TestEngineOffersTheDriver: Init makes the folder, and an engine that serves tells the
// agents on Windows of what is put there, without a restart.
func TestEngineOffersTheDriver(t *testing.T) {
	root := newRoot(t)
	folder := filepath.Join(string(root), "Dependencies", "VPN_Tunnel_Adapter")
	for _, want := range []string{"README.txt", "amd64", "arm64"} {
		if _, err := os.Stat(filepath.Join(folder, want)); err != nil {
			t.Errorf("Init: %v", err)
		}
	}
	e := begun(t, root, 0)
	d := addDevice(t, e)
	welcome := func() *wire.File {
		t.Helper()
		hello := wire.Hello{Nonce: "n", OS: "windows", Arch: "arm64", Protocol: wire.Protocol, Dialled: "127.0.0.1:1"}
		c, err := e.Manager.Join(t.Context(), d, hello, "127.0.0.1", e.Keys.Identity, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Leave()
		return (<-c.Outgoing()).Welcome.Driver
	}
	if got := welcome(); got != nil {
		t.Errorf("an empty folder: %+v", got)
	}
	body := library(t)
	if err := os.WriteFile(filepath.Join(folder, "arm64", "wireguard.dll"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	if diff := cmp.Diff(&wire.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body))}, welcome()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// addDevice makes an active device of a new key.
func addDevice(t *testing.T, e *Engine) store.Device {
	t.Helper()
	id, err := keys.NewIdentity("pc")
	if err != nil {
		t.Fatal(err)
	}
	hash := handlers.HashSecret(wire.NewSecret())
	now := time.Now()
	code := store.Code{Uses: 1, AutoApprove: true, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	if _, err := e.Store.AddCode(t.Context(), hash, code, store.Record{}); err != nil {
		t.Fatal(err)
	}
	d, err := e.Store.RedeemCode(t.Context(), hash, store.Device{Hostname: "pc", OS: "windows", Pin: id.Pin().String()}, now, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// library is a signed library for Windows on ARM that does nothing.
func library(t *testing.T) []byte {
	t.Helper()
	file := make([]byte, 0x80, 1024)
	copy(file, "MZ")
	binary.LittleEndian.PutUint32(file[0x3c:], uint32(len(file)))
	out := bytes.NewBuffer(append(file, "PE\x00\x00"...))
	header := pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16}
	signature := []byte("signed")
	header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY] = pe.DataDirectory{VirtualAddress: 0x80 + 4 + 20 + 240, Size: uint32(len(signature))}
	for _, part := range []any{pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_ARM64, SizeOfOptionalHeader: 240}, header, signature} {
		if err := binary.Write(out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}
