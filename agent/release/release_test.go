package release

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/google/go-cmp/cmp"
)

// publisher and stranger have keys that are the same in each run.
var (
	publisherKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("p", ed25519.SeedSize)))
	strangerKey  = ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func example() Manifest {
	return Manifest{
		Version: "1.2.3-rc.1+win", Sequence: 7, Released: time.Date(2026, 11, 22, 20, 24, 52, 0, time.UTC),
		Files: []File{
			{OS: "windows", Arch: "amd64", Name: "borealis-agent-windows-amd64.exe", SHA256: strings.Repeat("a1", 32), Size: 12_000_000},
			{OS: "windows", Arch: "arm64", Name: "borealis-agent-windows-arm64.exe", SHA256: strings.Repeat("b2", 32), Size: MaxProgram},
		},
	}
}

// raw signs any claims, as only a publisher could.
func raw(t *testing.T, claims, footer, purpose string) string {
	t.Helper()
	token, err := paseto.NewTokenFromClaimsJSON([]byte(claims), []byte(footer))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := paseto.NewV4AsymmetricSecretKeyFromEd25519(publisherKey)
	if err != nil {
		t.Fatal(err)
	}
	return token.V4Sign(secret, []byte(purpose))
}

func claims(t *testing.T, m Manifest) string {
	t.Helper()
	b, err := json.Marshal(body{Files: m.Files, Released: m.Released, Sequence: m.Sequence, Version: m.Version})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSignAndRead(t *testing.T) {
	t.Parallel()
	want := example()
	signed, err := Sign(want, publisherKey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(signed, public(publisherKey))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("another manifest (-want +got):\n%s", diff)
	}
	if f, ok := got.For("windows", "arm64"); !ok || f != want.Files[1] {
		t.Errorf("for windows on arm64 it has %+v, %v", f, ok)
	}
	if f, ok := got.For("linux", "amd64"); ok {
		t.Errorf("for linux it has %+v", f)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	good, err := Sign(example(), publisherKey)
	if err != nil {
		t.Fatal(err)
	}
	said := claims(t, example())
	for name, c := range map[string]struct {
		signed string
		want   error
	}{
		"nothing":              {"", ErrMalformed},
		"another kind":         {"v4.local." + strings.TrimPrefix(good, "v4.public."), ErrMalformed},
		"a changed byte":       {good[:len(good)-1] + flipped(good[len(good)-1]), ErrSignature},
		"too long":             {good + strings.Repeat("A", MaxSize), ErrMalformed},
		"another purpose":      {raw(t, said, "", "borealis tunnel token v1"), ErrSignature},
		"no purpose":           {raw(t, said, "", ""), ErrSignature},
		"a footer":             {raw(t, said, "x", purpose), ErrMalformed},
		"a member more":        {raw(t, strings.Replace(said, "{", `{"extra":1,`, 1), "", purpose), ErrMalformed},
		"a member less":        {raw(t, strings.Replace(said, `"sequence":7,`, "", 1), "", purpose), ErrMalformed},
		"a member of a file":   {raw(t, strings.Replace(said, `"os"`, `"url":"x","os"`, 1), "", purpose), ErrMalformed},
		"a member in capitals": {raw(t, strings.Replace(said, `"arch"`, `"Arch"`, 1), "", purpose), ErrMalformed},
		"another time zone":    {raw(t, strings.Replace(said, "52Z", "52+01:00", 1), "", purpose), ErrMalformed},
	} {
		if m, err := Read(c.signed, public(publisherKey)); !errors.Is(err, c.want) || m.Sequence != 0 {
			t.Errorf("%s: it reads %+v, %v", name, m, err)
		}
	}
	for _, key := range []ed25519.PublicKey{public(strangerKey), nil, public(publisherKey)[:31]} {
		if _, err := Read(good, key); !errors.Is(err, ErrSignature) {
			t.Errorf("with the key %x: %v", key, err)
		}
	}
}

func flipped(b byte) string {
	if b == 'A' {
		return "B"
	}
	return "A"
}

// TestNonsenseIsNeitherSignedNorRead has what no release can mean.
func TestNonsenseIsNeitherSignedNorRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Manifest){
		"no version":           func(m *Manifest) { m.Version = "" },
		"a version with space": func(m *Manifest) { m.Version = "1 2" },
		"a long version":       func(m *Manifest) { m.Version = strings.Repeat("1", maxName+1) },
		"sequence zero":        func(m *Manifest) { m.Sequence = 0 },
		"a negative sequence":  func(m *Manifest) { m.Sequence = -1 },
		"no time":              func(m *Manifest) { m.Released = time.Time{} },
		"half a second":        func(m *Manifest) { m.Released = m.Released.Add(time.Second / 2) },
		"no file":              func(m *Manifest) { m.Files = nil },
		"two for one":          func(m *Manifest) { m.Files[1].Arch = "amd64" },
		"a path":               func(m *Manifest) { m.Files[0].Name = "../agent" },
		"a hidden file":        func(m *Manifest) { m.Files[0].Name = ".agent" },
		"no system":            func(m *Manifest) { m.Files[0].OS = "" },
		"a short hash":         func(m *Manifest) { m.Files[0].SHA256 = "a1" },
		"a hash in capitals":   func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("A1", 32) },
		"an empty file":        func(m *Manifest) { m.Files[0].Size = 0 },
		"a huge file":          func(m *Manifest) { m.Files[0].Size = MaxProgram + 1 },
		"too many files": func(m *Manifest) {
			for i := range maxFiles {
				m.Files = append(m.Files, File{OS: "linux", Arch: string(rune('a' + i)), Name: "x", SHA256: strings.Repeat("a1", 32), Size: 1})
			}
		},
	} {
		m := example()
		change(&m)
		if _, err := Sign(m, publisherKey); err == nil {
			t.Errorf("%s: it is signed", name)
		}
		if _, err := Read(raw(t, claims(t, m), "", purpose), public(publisherKey)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: it is read: %v", name, err)
		}
	}
	if _, err := Sign(example(), publisherKey[:31]); err == nil {
		t.Error("half a key signs")
	}
}

// TestWhatTheLinkerSets reads what a build puts into the program. It runs alone: it changes
// what all others would read.
func TestWhatTheLinkerSets(t *testing.T) {
	defer func(v, s, p string) { version, sequence, publisher = v, s, p }(version, sequence, publisher)
	if _, ok := Publisher(); ok || Version() != "" || Sequence() != 0 {
		t.Error("a build without a release has one")
	}
	version, sequence, publisher = "1.2.3", "7", base64.StdEncoding.EncodeToString(public(publisherKey))
	if key, ok := Publisher(); !ok || !key.Equal(public(publisherKey)) || Version() != "1.2.3" || Sequence() != 7 {
		t.Errorf("it has %x, %v, %s, %d", key, ok, Version(), Sequence())
	}
	for _, bad := range []string{"x", "-1", "1.5"} {
		if sequence = bad; Sequence() != 0 {
			t.Errorf("sequence %q is %d", bad, Sequence())
		}
	}
	for _, bad := range []string{"", "AAAA", publisher + "A", "!" + publisher[1:]} {
		publisher = bad
		if _, ok := Publisher(); ok {
			t.Errorf("publisher %q is one", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	good, err := Sign(example(), publisherKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("v4.public.")
	f.Fuzz(func(t *testing.T, signed string) {
		m, err := Read(signed, public(publisherKey))
		if err == nil && m.check() != nil {
			t.Errorf("it reads %+v", m)
		}
	})
}
