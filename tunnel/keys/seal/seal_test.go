package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/tunnel/keys/seal"
)

func TestSealedOpensForItsPurposeAlone(t *testing.T) {
	t.Parallel()
	box, other := seal.New([32]byte{1}), seal.New([32]byte{2})
	secret := []byte("the secret of this test")
	for _, plain := range [][]byte{secret, {}, make([]byte, 1<<16)} {
		sealed := box.Seal("file:a", plain)
		if !seal.IsSealed(sealed) || len(plain) > 0 && bytes.Contains(sealed, plain) {
			t.Errorf("%d bytes are sealed as %q", len(plain), sealed[:min(len(sealed), 60)])
		}
		got, err := box.Open("file:a", sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes came back as %d, %v", len(plain), len(got), err)
		}
		if again := box.Seal("file:a", plain); bytes.Equal(again, sealed) {
			t.Error("sealed twice alike")
		}
	}
	sealed := box.Seal("file:a", secret)
	tests := map[string]struct {
		box     *seal.Box
		purpose string
		sealed  []byte
		want    error
	}{
		"the same key again":   {seal.New([32]byte{1}), "file:a", sealed, nil},
		"another key":          {other, "file:a", sealed, seal.ErrWrongKey},
		"another purpose":      {box, "file:b", sealed, seal.ErrDamaged},
		"no purpose":           {box, "", sealed, seal.ErrDamaged},
		"a longer purpose":     {box, "file:a\x00", sealed, seal.ErrDamaged},
		"never sealed":         {box, "file:a", secret, seal.ErrDamaged},
		"nothing":              {box, "file:a", nil, seal.ErrDamaged},
		"the beginning":        {box, "file:a", sealed[:8], seal.ErrDamaged},
		"no tag":               {box, "file:a", sealed[:28], seal.ErrDamaged},
		"cut short":            {box, "file:a", sealed[:len(sealed)-1], seal.ErrDamaged},
		"a byte more":          {box, "file:a", append(bytes.Clone(sealed), 0), seal.ErrDamaged},
		"sealed with no key":   {box, "file:a", append([]byte("BRLSEAL1"), make([]byte, 64)...), seal.ErrWrongKey},
		"something before it":  {box, "file:a", append([]byte{' '}, sealed...), seal.ErrDamaged},
		"two of them together": {box, "file:a", append(bytes.Clone(sealed), sealed...), seal.ErrDamaged},
	}
	for name, tt := range tests {
		got, err := tt.box.Open(tt.purpose, tt.sealed)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err != nil && got != nil {
			t.Errorf("%s: refused with %q", name, got)
		}
	}
}

func TestEveryBitOfASealedSecretCounts(t *testing.T) {
	t.Parallel()
	box := seal.New([32]byte{1})
	sealed := box.Seal("purpose", []byte("secret"))
	for i := range sealed {
		for bit := range 8 {
			bent := bytes.Clone(sealed)
			bent[i] ^= 1 << bit
			if plain, err := box.Open("purpose", bent); err == nil || plain != nil {
				t.Errorf("opens with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

func TestKeysHaveNames(t *testing.T) {
	t.Parallel()
	key := [32]byte{1}
	a, b := seal.New(key), seal.New([32]byte{2})
	if len(a.ID()) != 16 || a.ID() == b.ID() || a.ID() != seal.New(key).ID() {
		t.Errorf("ids are %q and %q", a.ID(), b.ID())
	}
	if strings.Contains(hex.EncodeToString(key[:]), a.ID()) {
		t.Error("the id is part of the key")
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of nothing: %v", err)
	}
	made, err := seal.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := loaded.Open("p", made.Seal("p", []byte("secret"))); err != nil || string(plain) != "secret" {
		t.Errorf("the loaded key opens %q, %v", plain, err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a key: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key file changed, %v", err)
	}
	another, err := seal.Create(path + "2")
	if err != nil || another.ID() == made.ID() {
		t.Errorf("a second key has the id %s, %v", another.ID(), err)
	}
	if _, err := seal.Create(filepath.Join(path, "below")); err == nil {
		t.Error("Create below a file passes")
	}
}

func TestDamagedKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	key := strings.Repeat("AAAA", 10) + "AAA="
	for name, c := range map[string]struct {
		content string
		ok      bool
	}{
		"as made":        {key + "\n", true},
		"without a line": {key, true},
		"empty":          {"", false},
		"short":          {key[4:], false},
		"long":           {"AAAA" + key, false},
		"not base64":     {strings.Repeat("!", 44), false},
		"stray bits":     {key[:42] + "B=", false},
		"two keys":       {key + "\n" + key, false},
		"huge":           {strings.Repeat("A", 1<<20), false},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Load(path); (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), path+" is damaged") {
			t.Errorf("%s: %v, want it to pass: %v", name, err, c.ok)
		}
	}
	if _, err := seal.Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestPassphrase(t *testing.T) {
	t.Parallel()
	salt := []byte("salt of this test")
	box := seal.FromPassphrase("correct horse", salt)
	sealed := box.Seal("p", []byte("secret"))
	if _, err := seal.FromPassphrase("correct horse", salt).Open("p", sealed); err != nil {
		t.Errorf("the same passphrase: %v", err)
	}
	for name, other := range map[string]*seal.Box{
		"another passphrase": seal.FromPassphrase("correct horsf", salt),
		"another salt":       seal.FromPassphrase("correct horse", salt[1:]),
	} {
		if _, err := other.Open("p", sealed); !errors.Is(err, seal.ErrWrongKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	box := seal.New([32]byte{1})
	f.Add([]byte{})
	f.Add([]byte("BRLSEAL1"))
	f.Add(box.Seal("purpose", []byte("secret")))
	f.Add(seal.New([32]byte{2}).Seal("purpose", nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := box.Open("purpose", b)
		if err == nil { // Only what this box sealed passes; nobody else can make that.
			if len(b) != len(plain)+44 {
				t.Errorf("%d bytes open as %d", len(b), len(plain))
			}
			return
		}
		if plain != nil || !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey) {
			t.Errorf("%q: %v", plain, err)
		}
	})
}
