package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// privateKeys reads every private key of a demo's data root, engine's and agent's,
// in the forms in which one might leak.
func privateKeys(t *testing.T, data string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.WalkDir(data, func(path string, e os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".key") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(data, path)
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode())
		}
		block, _ := pem.Decode(b)
		if block == nil { // a WireGuard key in its usual text form
			text := strings.TrimSpace(string(b))
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(raw) != 32 {
				t.Errorf("%s is neither PEM nor a WireGuard key", name)
			}
			forms(all, name, raw)
			return nil
		}
		forms(all, name, secretOf(t, name, block.Bytes))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func secretOf(t *testing.T, name string, der []byte) []byte {
	t.Helper()
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	switch k := k.(type) {
	case ed25519.PrivateKey:
		return k.Seed()
	case *ecdsa.PrivateKey:
		raw, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	t.Fatalf("%s is a %T", name, k)
	return nil
}

func forms(all map[string][]byte, name string, raw []byte) {
	all[name+" raw"] = raw
	all[name+" base64"] = []byte(base64.StdEncoding.EncodeToString(raw))
	all[name+" base64url"] = []byte(base64.RawURLEncoding.EncodeToString(raw))
	all[name+" hex"] = []byte(hex.EncodeToString(raw))
}
