package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Identity is an Ed25519 key with a self-signed certificate around it. It never
// changes and is safe for concurrent use.
type Identity struct {
	private ed25519.PrivateKey
	cert    *x509.Certificate
}

// NewIdentity makes an identity in memory. The name stands in the certificate
// for people to read; nothing trusts it.
func NewIdentity(name string) (*Identity, error) {
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity key: %w", err)
	}
	// Identities do not expire: the pin is what counts, and a device whose clock
	// is years off must still be let in. RFC 5280 has this date for "never".
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	cert, err := selfSigned(template, pub, private)
	if err != nil {
		return nil, fmt.Errorf("make identity certificate: %w", err)
	}
	return &Identity{private: private, cert: cert}, nil
}

// openIdentity loads the identity in a pair of files, and makes it with the given name when
// both are absent.
func openIdentity(pair certPair, name string) (*Identity, error) {
	private, cert, err := pair.open(func() (crypto.Signer, *x509.Certificate, error) {
		id, err := NewIdentity(name)
		if err != nil {
			return nil, nil, err
		}
		return id.private, id.cert, nil
	})
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	return asIdentity(pair, private, cert)
}

// loadIdentity loads the identity in a pair of files, which must be there.
func loadIdentity(pair certPair) (*Identity, error) {
	private, cert, err := pair.load()
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	return asIdentity(pair, private, cert)
}

// asIdentity is the identity that a pair holds.
func asIdentity(pair certPair, private crypto.Signer, cert *x509.Certificate) (*Identity, error) {
	key, ok := private.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("open identity: %s: not an Ed25519 key", pair.keyPath())
	}
	return &Identity{private: key, cert: cert}, nil
}

// Pin returns the name of the identity.
func (i *Identity) Pin() Pin { return PinOfCertificate(i.cert) }

// Public returns the public key. The caller must not change it.
func (i *Identity) Public() ed25519.PublicKey {
	return i.private.Public().(ed25519.PublicKey)
}

// Private returns the private key, which is also the agent's SSH host key. The
// caller must not change it, log it or send it anywhere.
func (i *Identity) Private() ed25519.PrivateKey { return i.private }

// TLS returns the certificate to present, with its private key.
func (i *Identity) TLS() tls.Certificate {
	return tls.Certificate{
		Certificate: [][]byte{i.cert.Raw},
		PrivateKey:  i.private,
		Leaf:        i.cert,
	}
}

// Sign signs msg for one purpose, named by context, so that a signature made
// for one thing never passes for another. A context must not hold a zero byte.
func (i *Identity) Sign(context string, msg []byte) []byte {
	return ed25519.Sign(i.private, separated(context, msg))
}

// Verify reports whether sig is pub's signature on msg for the same context.
func Verify(pub ed25519.PublicKey, context string, msg, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, separated(context, msg), sig)
}

// separated returns context, a zero byte and msg.
func separated(context string, msg []byte) []byte {
	out := make([]byte, 0, len(context)+1+len(msg))
	out = append(out, context...)
	out = append(out, 0)
	return append(out, msg...)
}

// selfSigned signs template with its own key and parses the result.
func selfSigned(template *x509.Certificate, pub crypto.PublicKey, private crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1)) // Never zero.
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, private)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// belongs says what is wrong when cert is not private's own certificate, whole
// and signed by itself.
func belongs(cert *x509.Certificate, private crypto.Signer) error {
	pub, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(cert.PublicKey) {
		return errors.New("certificate and key do not belong together")
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return fmt.Errorf("certificate is damaged: %w", err)
	}
	return nil
}
