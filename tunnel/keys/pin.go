package keys

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
)

// Pin names a public key: the SHA-256 of its DER SubjectPublicKeyInfo.
// Pins are public and comparable with ==.
type Pin [sha256.Size]byte

// pinLength is the length of a pin in text.
const pinLength = 52

// pinText is RFC 4648 base32, lower case, without padding.
var pinText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// PinOf returns the pin of an Ed25519 public key.
// It panics when pub has the wrong length, which is a defect of the caller.
func PinOf(pub ed25519.PublicKey) Pin {
	if len(pub) != ed25519.PublicKeySize {
		panic("keys: pin of a key of the wrong length")
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil { // Cannot happen for an Ed25519 key.
		panic(err)
	}
	return sha256.Sum256(der)
}

// PinOfCertificate returns the pin of the key in c, whatever its algorithm.
func PinOfCertificate(c *x509.Certificate) Pin {
	return sha256.Sum256(c.RawSubjectPublicKeyInfo)
}

// ParsePin reads a pin as written by [Pin.String].
func ParsePin(s string) (Pin, error) {
	var p Pin
	if len(s) != pinLength {
		return p, fmt.Errorf("parse pin: %d characters, not %d", len(s), pinLength)
	}
	b, err := pinText.DecodeString(s)
	if err != nil || len(b) != len(p) {
		return p, errors.New("parse pin: not lower-case base32 (a-z, 2-7)")
	}
	copy(p[:], b)
	if p.String() != s { // The last character carries spare bits.
		return Pin{}, errors.New("parse pin: last character has stray bits")
	}
	return p, nil
}

// String returns the pin as 52 characters of lower-case base32.
func (p Pin) String() string { return pinText.EncodeToString(p[:]) }

// IsZero reports whether p is the zero value, which names no key.
func (p Pin) IsZero() bool { return p == Pin{} }

// MarshalText returns the same text as [Pin.String].
func (p Pin) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what [Pin.MarshalText] wrote.
func (p *Pin) UnmarshalText(text []byte) error {
	got, err := ParsePin(string(text))
	if err != nil {
		return err
	}
	*p = got
	return nil
}

// Peer returns the identity key that the other end of a TLS connection proved
// to hold. It wants TLS 1.3 and exactly one certificate, with an Ed25519 key
// and no authority over others; who that key belongs to is for the caller to
// decide by its pin. Call it from [tls.Config.VerifyConnection], which unlike
// VerifyPeerCertificate also runs for resumed sessions.
func Peer(cs tls.ConnectionState) (ed25519.PublicKey, error) {
	if cs.Version != tls.VersionTLS13 {
		return nil, fmt.Errorf("peer identity: %s, not TLS 1.3", tls.VersionName(cs.Version))
	}
	if n := len(cs.PeerCertificates); n != 1 {
		return nil, fmt.Errorf("peer identity: %d certificates, not 1", n)
	}
	c := cs.PeerCertificates[0]
	if c.IsCA {
		return nil, errors.New("peer identity: certificate of an authority")
	}
	pub, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("peer identity: %s key, not Ed25519", c.PublicKeyAlgorithm)
	}
	return pub, nil
}
