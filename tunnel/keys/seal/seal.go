// Package seal encrypts secrets at rest under a key that is kept apart from them.
//
// A sealed secret is AES-256-GCM with a random nonce. Its purpose is
// authenticated with it, so that a secret that was sealed for one thing does not
// open as another, and the id of the key stands in front, so that a wrong key is
// told from damage.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

var (
	// ErrWrongKey means that a secret was sealed under another key.
	ErrWrongKey = errors.New("sealed under another key")
	// ErrDamaged means that a secret was changed, cut short, was never sealed or
	// was sealed for another purpose.
	ErrDamaged = errors.New("damaged, or not sealed for this purpose")
)

// magic begins everything that is sealed, and names the format.
const magic = "BRLSEAL1"

// idSize is the length of a key's id in bytes.
const idSize = 8

// overhead is how many bytes longer than the secret its sealed form is: magic, key
// id, nonce and authentication tag.
const overhead = len(magic) + idSize + 12 + 16

// A Box seals and opens secrets under one key. It never changes and is safe for
// concurrent use.
type Box struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// New returns the box of a key, which should be random: see [Create].
func New(key [32]byte) *Box {
	block, err := aes.NewCipher(key[:])
	if err != nil { // Cannot happen with 32 bytes.
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil { // Cannot happen with AES.
		panic(err)
	}
	b := &Box{aead: aead}
	sum := sha256.Sum256(append([]byte("borealis seal key id v1\x00"), key[:]...))
	copy(b.id[:], sum[:])
	return b
}

// ID names the box's key in 16 hexadecimal digits. It is no secret.
func (b *Box) ID() string { return hex.EncodeToString(b.id[:]) }

// Seal encrypts a secret for one purpose, such as "file:identity.key". Sealing the
// same secret again gives other bytes.
func (b *Box) Seal(purpose string, plain []byte) []byte {
	out := make([]byte, 0, len(plain)+overhead)
	out = append(out, magic...)
	out = append(out, b.id[:]...)
	return b.aead.Seal(out, nil, plain, extra(purpose)) //nolint:gosec // this mode makes its own random nonce
}

// Open decrypts a secret that was sealed for the same purpose. The error is
// [ErrWrongKey] or [ErrDamaged].
func (b *Box) Open(purpose string, sealed []byte) ([]byte, error) {
	if !IsSealed(sealed) || len(sealed) < overhead {
		return nil, ErrDamaged
	}
	id, rest := sealed[len(magic):len(magic)+idSize], sealed[len(magic)+idSize:]
	if !bytes.Equal(id, b.id[:]) {
		return nil, ErrWrongKey
	}
	plain, err := b.aead.Open(nil, nil, rest, extra(purpose))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// IsSealed reports whether b looks like something that [Box.Seal] made.
func IsSealed(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }

// extra is what is authenticated besides the secret.
func extra(purpose string) []byte { return []byte(magic + "\x00" + purpose) }
