package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestWebCertificateIsJudged by its dates and names.
func TestWebCertificateIsJudged(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{CommonName: "console"}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: name, DNSNames: []string{"console.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	end := cert.NotAfter
	for _, c := range []struct {
		host string
		now  time.Time
		ok   bool
		says string
	}{
		{"console.example", end.Add(time.Hour), false, "it ended on"},
		{"console.example", end.Add(-24 * time.Hour), false, "it ends on"},
		{"console.example", end.Add(-30 * 24 * time.Hour), true, "signed itself"},
		{"other.example", end.Add(-30 * 24 * time.Hour), true, "not for other.example"},
	} {
		if f := judgeCertificate("web certificate", cert, c.host, c.now); f.OK != c.ok || !strings.Contains(f.Detail, c.says) || f.Hint == "" {
			t.Errorf("%s at %s: %+v", c.host, c.now, f)
		}
	}
}
