package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// keyFiles are those of the engine's files that hold a private key.
var keyFiles = []string{"VPN_Server/wireguard.key", "audit.key", "identity.key", "token.key", "web.key"}

// secretsOf returns every private key of an engine, in all forms that a file might
// have them.
func secretsOf(t *testing.T, e *keys.Engine) map[string][]byte {
	t.Helper()
	_, token := e.TokenSigner()
	all := map[string][]byte{
		"PEM": []byte("PRIVATE KEY"), "wireguard": e.WireGuard[:], "wireguard in base64": []byte(e.WireGuard.String()),
	}
	signers := map[string]any{"identity": e.Identity.Private(), "token": token, "audit": e.Audit, "web": e.Web.PrivateKey}
	if e.Previous != nil {
		signers["previous"] = e.Previous.Private()
	}
	for name, key := range signers {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		all[name+" in DER"] = der
		all[name+" in base64"] = []byte(base64.StdEncoding.EncodeToString(der)[:48])
		if private, ok := key.(ed25519.PrivateKey); ok {
			all[name+" seed"] = private.Seed()
		}
	}
	return all
}

// nothingPlain fails the test when a file below dir holds a private key.
func nothingPlain(t *testing.T, dir string, e *keys.Engine) {
	t.Helper()
	for file, content := range tree(t, dir) {
		for name, secret := range secretsOf(t, e) {
			if strings.Contains(content, string(secret)) {
				t.Errorf("%s holds the private key of %s", file, name)
			}
		}
	}
}

func TestNoPrivateKeyIsPlainOnDisk(t *testing.T) {
	t.Parallel()
	dir, e := newEngine(t)
	nothingPlain(t, dir, e)
	for _, name := range keyFiles {
		if !seal.IsSealed(read(t, filepath.Join(dir, name))) {
			t.Errorf("%s is not sealed", name)
		}
	}
	if err := e.RotateToken(start, nil); err != nil {
		t.Fatal(err)
	}
	nothingPlain(t, dir, e)
	if _, _, err := keys.RotateIdentity(dir, box, start); err != nil {
		t.Fatal(err)
	}
	nothingPlain(t, dir, at(t, dir, start))
}

// plain makes the files of an engine as an earlier version left them.
func plain(t *testing.T, dir string) {
	t.Helper()
	for _, name := range keyFiles {
		path := filepath.Join(dir, name)
		if name == "audit.key" { // There was none.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := box.Open("file:"+filepath.Base(name), read(t, path))
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(b); block != nil {
			block.Headers = nil
			b = pem.EncodeToMemory(block)
		}
		write(t, path, b)
	}
}

func TestPlainFilesAreSealedInPlace(t *testing.T) {
	t.Parallel()
	dir, first := newEngine(t)
	plain(t, dir)
	before := tree(t, dir)
	if !strings.Contains(before["identity.key"], "PRIVATE KEY") {
		t.Fatal("the test did not make plain files")
	}
	second, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	nothingPlain(t, dir, second)
	_, token := first.TokenSigner()
	_, same := second.TokenSigner()
	if first.Identity.Pin() != second.Identity.Pin() || first.WireGuard != second.WireGuard || !token.Equal(same) ||
		!bytes.Equal(first.Web.Certificate[0], second.Web.Certificate[0]) {
		t.Error("other keys came of it")
	}
	sealed := tree(t, dir)
	if len(sealed) != len(engineFiles) {
		t.Errorf("something else is left: %v", sealed)
	}
	for _, name := range []string{"identity.crt", "web.crt"} {
		if sealed[name] != before[name] {
			t.Errorf("%s changed", name)
		}
	}
	if _, err := keys.OpenEngine(dir, nil, box); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sealed, tree(t, dir)); diff != "" {
		t.Errorf("opening again changed files (-before +after):\n%s", diff)
	}
}

func TestSealingGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	dir, first := newEngine(t)
	sealed := tree(t, dir)
	plain(t, dir)
	for _, name := range []string{"identity.key", "VPN_Server/wireguard.key"} { // So far it got,
		write(t, filepath.Join(dir, name), []byte(sealed[name]))
	}
	write(t, filepath.Join(dir, ".token.key.ABCDEFGH"), []byte("BRLSEAL1")) // and no further.
	second, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	nothingPlain(t, dir, second)
	if first.Identity.Pin() != second.Identity.Pin() || first.WireGuard != second.WireGuard {
		t.Error("other keys came of it")
	}
}

// TestWrongSealKeyMakesNoNewKey is failure F23: a lost, wrong or swapped seal key
// stops the engine with an explanation, and what is there stays.
func TestWrongSealKeyMakesNoNewKey(t *testing.T) {
	t.Parallel()
	dir, first := newEngine(t)
	before := tree(t, dir)
	for name, c := range map[string]struct {
		box  *seal.Box
		says []string
	}{
		"wrong key": {seal.New([32]byte{2}), []string{filepath.Join(dir, "identity.key"), "sealed under another key", "start with the seal key", "no new key"}},
		"no key":    {nil, []string{filepath.Join(dir, "identity.key"), "no seal key was given", "start with the seal key"}},
	} {
		_, err := keys.OpenEngine(dir, nil, c.box)
		for _, says := range c.says {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", name, err, says)
			}
		}
		if _, _, err := keys.RotateIdentity(dir, c.box, start); err == nil {
			t.Errorf("%s: the identity rotates", name)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("%s: files changed (-before +after):\n%s", name, diff)
		}
	}
	for _, name := range keyFiles { // Each for itself, under a key that was lost since.
		path := filepath.Join(dir, name)
		base := filepath.Base(name)
		content, err := box.Open("file:"+base, []byte(before[name]))
		if err != nil {
			t.Fatal(err)
		}
		for what, b := range map[string][]byte{
			"sealed under another key": seal.New([32]byte{2}).Seal("file:"+base, content),
			"another purpose":          box.Seal("file:other.key", content),
		} {
			write(t, path, b)
			if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if !bytes.Equal(read(t, path), b) {
				t.Errorf("%s, %s: the file changed", name, what)
			}
		}
		write(t, path, []byte(before[name]))
	}
	if e, err := keys.OpenEngine(dir, nil, box); err != nil || e.Identity.Pin() != first.Identity.Pin() {
		t.Errorf("with the right key: %v", err)
	}
}

func TestNothingIsMadeWithoutASealKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "Certificates")
	if _, err := keys.OpenEngine(dir, nil, nil); err == nil {
		t.Error("opens")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
}

func TestAuditKeyIsVouchedFor(t *testing.T) {
	t.Parallel()
	_, e := newEngine(t)
	_, other := newEngine(t)
	key, foreign := e.AuditKey(), other.AuditKey()
	if !bytes.Equal(key.Public, e.Audit.Public().(ed25519.PublicKey)) {
		t.Error("another key is announced")
	}
	tests := map[string]struct {
		key keys.SignedKey
		ok  bool
	}{
		"genuine":                     {key, true},
		"another engine's":            {foreign, false},
		"another key, our signature":  {keys.SignedKey{Public: foreign.Public, Signature: key.Signature}, false},
		"no signature":                {keys.SignedKey{Public: key.Public}, false},
		"short":                       {keys.SignedKey{Public: key.Public[:31], Signature: key.Signature}, false},
		"nothing":                     {keys.SignedKey{}, false},
		"signed for another purpose":  {keys.SignedKey{Public: key.Public, Signature: e.Identity.Sign("borealis token key v1", key.Public)}, false},
		"a token key as an audit key": {keys.SignedKey{Public: e.TokenKeys(e.Identity)[0].Public, Signature: e.TokenKeys(e.Identity)[0].Signature}, false},
	}
	for name, tt := range tests {
		if err := tt.key.Check(e.Identity.Public()); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", name, err, tt.ok)
		}
	}
}
