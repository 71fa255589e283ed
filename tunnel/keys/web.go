package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"time"

	"borealis/tunnel/keys/seal"
)

// webLifetime is how long the self-signed web certificate holds. Nothing but a
// browser looks at it, and an operator replaces it by a real one or by ACME.
const webLifetime = 10 * 365 * 24 * time.Hour

// openWeb loads or makes the self-signed certificate for browsers.
func openWeb(dir string, hosts []string, box *seal.Box) (tls.Certificate, error) {
	pair := certPair{dir: dir, key: webFile, cert: "web.crt", box: box}
	private, cert, err := pair.open(func() (crypto.Signer, *x509.Certificate, error) { return newWeb(hosts) })
	if err != nil {
		return tls.Certificate{}, err
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
