// Package release says which programs belong to a version of the agent, signed by who published it.
//
// A [Manifest] is a PASETO v4.public message. The public key that vouches for it is part of
// the agent's program, put there when it is built; so an engine can offer a version of the
// agent to its devices but cannot make one. [Read] is the only way to read a manifest.
package release

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"aidanwoods.dev/go-paseto"
)

// MaxSize is the length of the longest signed manifest, which has to fit into one message
// of the channel. Longer ones are neither signed nor read.
const MaxSize = 8 << 10

// purpose is the implicit assertion of every manifest: it is signed but not sent, so a
// message that the same key signed for something else is no manifest.
const purpose = "borealis agent release v1"

// What [Read] finds wrong, for errors.Is.
var (
	ErrMalformed = errors.New("not a release manifest")
	ErrSignature = errors.New("the release is not signed by the publisher of this program")
)

// File is one program of a release.
type File struct {
	OS     string `json:"os"` // As in GOOS.
	Arch   string `json:"arch"`
	Name   string `json:"name"`   // Of the file, without a folder.
	SHA256 string `json:"sha256"` // In hexadecimal, lower case.
	Size   int64  `json:"size"`   // Bytes.
}

// Manifest names the programs of one version of the agent.
type Manifest struct {
	Version  string    // For people.
	Sequence int64     // Rises with each release, from 1; what decides which version is newer.
	Released time.Time // In whole seconds, UTC.
	Files    []File    // One for each system and processor at most.
}

// For returns the program for a system and a processor.
func (m Manifest) For(os, arch string) (File, bool) {
	for _, f := range m.Files {
		if f.OS == os && f.Arch == arch {
			return f, true
		}
	}
	return File{}, false
}

// Sign signs a manifest with the publisher's key. What [Read] would refuse is not signed.
func Sign(m Manifest, key ed25519.PrivateKey) (string, error) {
	body, err := encode(m)
	if err != nil {
		return "", fmt.Errorf("sign release: %w", err)
	}
	t, err := paseto.NewTokenFromClaimsJSON(body, nil)
	if err != nil {
		return "", fmt.Errorf("sign release: %w", err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", errors.New("sign release: not an Ed25519 key")
	}
	secret, err := paseto.NewV4AsymmetricSecretKeyFromEd25519(key)
	if err != nil {
		return "", fmt.Errorf("sign release: %w", err)
	}
	signed := t.V4Sign(secret, []byte(purpose))
	if len(signed) > MaxSize {
		return "", fmt.Errorf("sign release: %d bytes, more than %d", len(signed), MaxSize)
	}
	return signed, nil
}

// Read verifies a signed manifest and returns what it says. Its errors are [ErrMalformed]
// and [ErrSignature]; the manifest is zero with either.
func Read(signed string, publisher ed25519.PublicKey) (Manifest, error) {
	if len(signed) > MaxSize {
		return Manifest{}, fmt.Errorf("read release: %w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	parser := paseto.NewParserWithoutExpiryCheck() // A release does not end.
	foot, err := parser.UnsafeParseFooter(paseto.V4Public, signed)
	if err != nil {
		return Manifest{}, fmt.Errorf("read release: %w: %w", ErrMalformed, err)
	}
	if len(foot) > 0 {
		return Manifest{}, fmt.Errorf("read release: %w: it has a footer", ErrMalformed)
	}
	key, err := paseto.NewV4AsymmetricPublicKeyFromEd25519(publisher)
	if err != nil {
		return Manifest{}, fmt.Errorf("read release: %w: %w", ErrSignature, err)
	}
	t, err := parser.ParseV4Public(key, signed, []byte(purpose))
	if err != nil {
		return Manifest{}, fmt.Errorf("read release: %w: %w", ErrSignature, err)
	}
	m, err := decode(t.ClaimsJSON())
	if err != nil {
		return Manifest{}, fmt.Errorf("read release: %w: %w", ErrMalformed, err)
	}
	return m, nil
}

// Set by the linker when a release is built:
//
//	-ldflags "-X borealis/agent/release.version=1.2.3 -X borealis/agent/release.sequence=7 -X borealis/agent/release.publisher=BASE64"
var version, sequence, publisher string

// Version is the version of the release that this program was built for, or "".
func Version() string { return version }

// Sequence is the number of the release that this program was built for, or 0.
func Sequence() int64 {
	n, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Publisher is whose releases this program takes. It reports false when it was built for
// none.
func Publisher() (ed25519.PublicKey, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(publisher)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, false
	}
	return b, true
}
