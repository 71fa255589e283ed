package release

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Limits of a [Manifest].
const (
	MaxProgram = 64 << 20 // Bytes of one program.
	maxFiles   = 16
	maxName    = 64
	maxYear    = 9999 // RFC 3339 ends there.
)

// body is the JSON form of [Manifest]. Its members are in the order of the alphabet, in
// which PASETO puts them.
type body struct {
	Files    []File    `json:"files"`
	Released time.Time `json:"released"`
	Sequence int64     `json:"sequence"`
	Version  string    `json:"version"`
}

// encode returns the one JSON form of a manifest that is in order.
func encode(m Manifest) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return json.Marshal(body{Files: m.Files, Released: m.Released, Sequence: m.Sequence, Version: m.Version})
}

// decode reads exactly what encode returns: no member more, fewer, twice or in another form.
func decode(b []byte) (Manifest, error) {
	var raw body
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return Manifest{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, errors.New("more than one JSON value")
	}
	m := Manifest{Version: raw.Version, Sequence: raw.Sequence, Released: raw.Released, Files: raw.Files}
	same, err := encode(m)
	if err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(same, b) {
		return Manifest{}, errors.New("not in its one form")
	}
	return m, nil
}

// check says what is wrong with a manifest.
func (m Manifest) check() error {
	if !plain(m.Version) {
		return fmt.Errorf("version %q: use 1 to %d letters, digits and .-_+", m.Version, maxName)
	}
	if m.Sequence < 1 {
		return fmt.Errorf("sequence %d: it begins with 1", m.Sequence)
	}
	if y := m.Released.Year(); m.Released.Location() != time.UTC || m.Released.Nanosecond() != 0 || y < 2000 || y >= maxYear {
		return errors.New("released: not a time in whole seconds and UTC")
	}
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return fmt.Errorf("%d files, not 1 to %d", len(m.Files), maxFiles)
	}
	type target struct{ os, arch string }
	seen := make(map[target]bool)
	for _, f := range m.Files {
		if err := f.check(); err != nil {
			return err
		}
		t := target{f.OS, f.Arch}
		if seen[t] {
			return fmt.Errorf("two files for %s on %s", f.OS, f.Arch)
		}
		seen[t] = true
	}
	return nil
}

// check says what is wrong with a file.
func (f File) check() error {
	if !plain(f.Name) || !plain(f.OS) || !plain(f.Arch) {
		return fmt.Errorf("file %q for %q on %q: use 1 to %d letters, digits and .-_+", f.Name, f.OS, f.Arch, maxName)
	}
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != f.SHA256 {
		return fmt.Errorf("file %s: not a SHA-256", f.Name)
	}
	if f.Size < 1 || f.Size > MaxProgram {
		return fmt.Errorf("file %s: %d bytes, not 1 to %d", f.Name, f.Size, MaxProgram)
	}
	return nil
}

// plain wants a short word that is one in a file name, a command and a page.
func plain(s string) bool {
	return s != "" && len(s) <= maxName && s[0] != '.' && s[0] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+") == ""
}
