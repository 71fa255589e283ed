package keys_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/windows"

	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// content reads a file of an agent's keys.
func content(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put writes a file of an agent's keys.
func put(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// enrolled is an agent's keys, and its identity's pin.
func enrolled(t *testing.T) (dir string, pin keys.Pin) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "VPN_Client")
	id, err := keys.OpenAgentIdentity(dir, "device")
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.SaveAgent(dir, identity(t).Pin(), "192.0.2.1:8443"); err != nil {
		t.Fatal(err)
	}
	return dir, id.Pin()
}

// TestIdentityIsSealedToTheMachine: what is on the disk is no key, and it opens again.
func TestIdentityIsSealedToTheMachine(t *testing.T) {
	t.Parallel()
	dir, pin := enrolled(t)
	if b := content(t, dir, "identity.key"); !seal.IsSealed(b) || bytes.Contains(b, []byte("PRIVATE KEY")) {
		t.Errorf("the key is kept as %.40q", b)
	}
	if b := content(t, dir, "seal.dpapi"); len(b) < 64 {
		t.Errorf("its key is kept in %d bytes", len(b))
	}
	k, err := keys.OpenAgent(dir)
	if err != nil || k.Identity.Pin() != pin {
		t.Errorf("opened again: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".seal*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestPlainIdentityIsSealedInPlace is for what an earlier version left.
func TestPlainIdentityIsSealedInPlace(t *testing.T) {
	t.Parallel()
	dir, pin := enrolled(t)
	blob := content(t, dir, "seal.dpapi")
	plain := opened(t, blob, content(t, dir, "identity.key"))
	if !bytes.Contains(plain, []byte("PRIVATE KEY")) {
		t.Fatalf("unsealed it is %.40q", plain)
	}
	put(t, dir, "identity.key", plain)
	if err := os.Remove(filepath.Join(dir, "seal.dpapi")); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		k, err := keys.OpenAgent(dir)
		if err != nil || k.Identity.Pin() != pin {
			t.Fatalf("round %d: %v", round, err)
		}
		if b := content(t, dir, "identity.key"); !seal.IsSealed(b) {
			t.Errorf("round %d: the key is kept as %.40q", round, b)
		}
	}
}

// opened opens a sealed key as the agent does.
func opened(t *testing.T, blob, sealed []byte) []byte {
	t.Helper()
	key, err := keys.UnprotectData(blob)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := seal.New([32]byte(key)).Open("file:identity.key", sealed)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// TestForeignKeysSayWhatToDo has what a copy to another machine, a damaged disk and a careless
// clean-up leave. Nothing is written.
func TestForeignKeysSayWhatToDo(t *testing.T) {
	t.Parallel()
	other, _ := enrolled(t)
	foreign, err := keys.ProtectData([]byte("too short"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(dir string)
		says   string
	}{
		"a damaged blob": {func(dir string) {
			b := content(t, dir, "seal.dpapi")
			b[len(b)-1] ^= 1
			put(t, dir, "seal.dpapi", b)
		}, "cannot be opened on this device"},
		"an empty blob":      {func(dir string) { put(t, dir, "seal.dpapi", nil) }, "cannot be opened on this device"},
		"another blob":       {func(dir string) { put(t, dir, "seal.dpapi", foreign) }, "cannot be opened on this device"},
		"other entropy":      {func(dir string) { put(t, dir, "seal.dpapi", withoutEntropy(t)) }, "cannot be opened on this device"},
		"another agent's":    {func(dir string) { put(t, dir, "seal.dpapi", content(t, other, "seal.dpapi")) }, "of another device"},
		"no blob":            {func(dir string) { os.Remove(filepath.Join(dir, "seal.dpapi")) }, "seal.dpapi is missing"},
		"no identity":        {func(dir string) { os.Remove(filepath.Join(dir, "identity.key")) }, "identity.key is missing"},
		"a damaged identity": {func(dir string) { put(t, dir, "identity.key", content(t, dir, "identity.key")[:60]) }, "is damaged"},
	} {
		dir, _ := enrolled(t)
		c.change(dir)
		before := files(t, dir)
		_, err := keys.OpenAgent(dir)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--replace") {
			t.Errorf("%s: %v; want %q and --replace", name, err, c.says)
		}
		if after := files(t, dir); before != after {
			t.Errorf("%s: the folder has %s, before %s", name, after, before)
		}
	}
}

// withoutEntropy protects a key as another program may.
func withoutEntropy(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, 32)
	var out windows.DataBlob
	err := windows.CryptProtectData(&windows.DataBlob{Size: 32, Data: &key[0]}, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Taken(out)
}

// files are the names and sizes in a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, e := range entries {
		if e.Name() != ".lock" {
			s.WriteString(e.Name() + ":" + string(content(t, dir, e.Name())) + "\n")
		}
	}
	return s.String()
}

// TestProcessesMakeOneKey opens new keys from many goroutines at once.
func TestProcessesMakeOneKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "VPN_Client")
	pins := make([]keys.Pin, 8)
	var all sync.WaitGroup
	for i := range pins {
		all.Go(func() {
			id, err := keys.OpenAgentIdentity(dir, "device")
			if err != nil {
				t.Error(err)
				return
			}
			pins[i] = id.Pin()
		})
	}
	all.Wait()
	for _, pin := range pins {
		if pin != pins[0] {
			t.Errorf("pins are %v", pins)
		}
	}
}
