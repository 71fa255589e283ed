package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

func itoa(n int) string { return strconv.Itoa(n) }

// certificate makes a certificate for 127.0.0.1 that is its own authority, and writes
// it and its key into files.
func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "log server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A receiver is a log server.
type receiver struct {
	t       *testing.T
	ca      string
	config  *tls.Config
	address string
	got     chan map[string]string // the structured data of each message, with its kind as "id"
	deaf    bool                   // it takes connections, and reads nothing

	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{
		t: t, ca: certFile, config: &tls.Config{Certificates: []tls.Certificate{pair}}, address: "127.0.0.1:0",
		got: make(chan map[string]string, 10_000), conns: make(map[net.Conn]bool), accepted: make(chan struct{}, 1000),
	}
	t.Cleanup(r.stop)
	return r
}

// start listens, on the same address each time.
func (r *receiver) start() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.listener, r.address = listener, listener.Addr().String()
	r.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			r.mu.Unlock()
			r.work.Go(func() { r.serve(conn) })
		}
	})
}

// stop breaks all connections off, with whatever is on its way in them.
func (r *receiver) stop() {
	if r.listener == nil {
		return
	}
	r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(r.conns)
	r.mu.Unlock()
	r.work.Wait()
	r.listener = nil
}

func (r *receiver) serve(raw net.Conn) {
	conn := tls.Server(raw, r.config)
	defer conn.Close()
	if conn.HandshakeContext(r.t.Context()) != nil {
		return
	}
	r.accepted <- struct{}{}
	if r.deaf {
		<-r.t.Context().Done()
		return
	}
	octetcounting.NewParser(syslog.WithListener(func(result *syslog.Result) {
		if result.Error != nil || result.Message == nil {
			return // the connection broke in the middle of a message, or ended
		}
		m := result.Message.(*rfc5424.SyslogMessage)
		values := map[string]string{"id": *m.MsgID}
		maps.Copy(values, (*m.StructuredData)[structuredID])
		r.got <- values
	})).Parse(conn)
}

// next is the next message.
func (r *receiver) next() map[string]string {
	r.t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-bounded(r.t).Done():
		r.t.Fatal("no message came")
		return nil
	}
}

// nextRecord is the number of the next message that is a record.
func (r *receiver) nextRecord() int {
	r.t.Helper()
	for {
		if m := r.next(); m["hash"] != "" && m["id"] != "checkpoint" {
			return number(r.t, m["seq"])
		}
	}
}

func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// forwarder is a forwarder to the receiver that does not wait long.
func (r *receiver) forwarder(db *store.Store, dir string, change ...func(*ForwarderConfig)) *Forwarder {
	r.t.Helper()
	trust, err := SyslogTLS(r.ca, "", "")
	if err != nil {
		r.t.Fatal(err)
	}
	c := ForwarderConfig{Store: db, Address: r.address, TLS: trust, Cursor: filepath.Join(dir, "syslog.cursor"), Host: "engine.example"}
	for _, f := range change {
		f(&c)
	}
	f, err := NewForwarder(c)
	if err != nil {
		r.t.Fatal(err)
	}
	f.pause = 5 * time.Millisecond
	return f
}

// checkpointOf reads a checkpoint from the structured data of its message.
func checkpointOf(t testing.TB, values map[string]string) store.Checkpoint {
	t.Helper()
	decode := func(name string) []byte {
		b, err := hex.DecodeString(values[name])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c := store.Checkpoint{
		Seq: int64(number(t, values["seq"])), At: time.Unix(0, int64(number(t, values["at"]))).UTC(),
		Key: decode("key"), Vouch: decode("vouch"), Signature: decode("signature"),
	}
	copy(c.Hash[:], decode("hash"))
	return c
}

// cursorOf reads a cursor file; empty when there is none.
func cursorOf(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "syslog.cursor"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
