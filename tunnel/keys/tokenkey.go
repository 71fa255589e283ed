package keys

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// tokenKeyContext separates signatures on token keys from all others.
const tokenKeyContext = "borealis token key v1"

// tokenKeyIDLength is the length of a token key's id in hexadecimal digits.
const tokenKeyIDLength = 16

// TokenKey is the public half of a key that signs tunnel tokens, with the
// signature of the engine's identity key that vouches for it.
type TokenKey struct {
	ID        string `json:"id"`        // The first 16 hexadecimal digits of the SHA-256 of Public.
	Public    []byte `json:"public"`    // An Ed25519 public key.
	Signature []byte `json:"signature"` // Made by the identity key.
}

// Check says whether identity vouches for the token key and its id is its own.
func (k TokenKey) Check(identity ed25519.PublicKey) error {
	if len(k.Public) != ed25519.PublicKeySize {
		return errors.New("check token key: not an Ed25519 key")
	}
	if k.ID != tokenKeyID(k.Public) {
		return errors.New("check token key: id of another key")
	}
	if !Verify(identity, tokenKeyContext, k.Public, k.Signature) {
		return errors.New("check token key: not signed by the engine's identity key")
	}
	return nil
}

// tokenKeyID returns the id of a token key.
func tokenKeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:])[:tokenKeyIDLength]
}
