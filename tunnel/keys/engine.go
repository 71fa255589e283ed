package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// webLifetime is how long the self-signed web certificate holds. Nothing but a
// browser looks at it, and an operator replaces it by a real one or by ACME.
const webLifetime = 10 * 365 * 24 * time.Hour

// Engine holds the keys of an engine, each with one purpose. It never changes.
type Engine struct {
	Identity  *Identity          // What agents pin.
	Token     ed25519.PrivateKey // Signs tunnel tokens; vouched for by Identity.
	WireGuard wgtypes.Key        // The private key of the WireGuard listener.
	Web       tls.Certificate    // What browsers see; agents never do.
}

// OpenEngine loads the engine's keys below dir and makes those that are absent:
// identity.key and .crt, token.key, web.key and .crt, and
// VPN_Server/wireguard.key. The hosts are the names and addresses in a newly
// made web certificate; a present one is never remade.
func OpenEngine(dir string, hosts []string) (*Engine, error) {
	identity, err := OpenIdentity(dir, "identity", "Borealis engine")
	if err != nil {
		return nil, fmt.Errorf("open engine keys: %w", err)
	}
	token, err := openTokenKey(dir)
	if err != nil {
		return nil, fmt.Errorf("open engine keys: %w", err)
	}
	wireGuard, err := openWireGuardKey(filepath.Join(dir, "VPN_Server"))
	if err != nil {
		return nil, fmt.Errorf("open engine keys: %w", err)
	}
	web, err := openWeb(dir, hosts)
	if err != nil {
		return nil, fmt.Errorf("open engine keys: %w", err)
	}
	return &Engine{Identity: identity, Token: token, WireGuard: wireGuard, Web: web}, nil
}

// TokenKey returns the public half of the token key, signed by the identity.
func (e *Engine) TokenKey() TokenKey {
	pub := e.Token.Public().(ed25519.PublicKey)
	return TokenKey{
		ID:        tokenKeyID(pub),
		Public:    pub,
		Signature: e.Identity.Sign(tokenKeyContext, pub),
	}
}

// openTokenKey loads or makes the Ed25519 key that signs tokens.
func openTokenKey(dir string) (ed25519.PrivateKey, error) {
	const name = "token.key"
	b, err := openSecret(dir, name, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return privatePEM(key)
	})
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	private, err := parsePrivate(filepath.Join(dir, name), b)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	key, ok := private.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("token key: %s: not an Ed25519 key", filepath.Join(dir, name))
	}
	return key, nil
}

// openWireGuardKey loads or makes the listener's key, in the format of wg(8).
func openWireGuardKey(dir string) (wgtypes.Key, error) {
	const name = "wireguard.key"
	b, err := openSecret(dir, name, func() ([]byte, error) {
		key, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			return nil, err
		}
		return []byte(key.String() + "\n"), nil
	})
	if err != nil {
		return wgtypes.Key{}, fmt.Errorf("wireguard key: %w", err)
	}
	key, err := wgtypes.ParseKey(string(bytes.TrimSpace(b)))
	if err != nil || key == (wgtypes.Key{}) {
		return wgtypes.Key{}, fmt.Errorf("wireguard key: %s is damaged: not a base64 key", filepath.Join(dir, name))
	}
	return key, nil
}

// openWeb loads or makes the self-signed certificate for browsers.
func openWeb(dir string, hosts []string) (tls.Certificate, error) {
	pair := certPair{dir: dir, key: "web.key", cert: "web.crt"}
	private, cert, err := pair.open(func() (crypto.Signer, *x509.Certificate, error) { return newWeb(hosts) })
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("web certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: private, Leaf: cert}, nil
}

// newWeb makes a web certificate for the hosts.
func newWeb(hosts []string) (crypto.Signer, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Borealis engine"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(webLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := selfSigned(template, key.Public(), key)
	return key, cert, err
}
