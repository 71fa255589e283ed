package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/keys/seal"
)

// Key files of an engine that hold one secret each.
const (
	tokenFile     = "token.key"
	auditFile     = "audit.key"
	webFile       = "web.key"
	wireGuardFile = "wireguard.key"
	wireGuardDir  = "VPN_Server"
)

// Engine holds the keys of an engine, each with one purpose. Its fields never
// change; the key that signs tokens does, behind its methods. It is safe for
// concurrent use.
type Engine struct {
	Identity  *Identity          // What agents pin, and what new enrolment codes name.
	Previous  *Identity          // The one before, which may still be pinned; nil unless it was replaced less than Overlap before the opening.
	Audit     ed25519.PrivateKey // Signs checkpoints of the audit trail; vouched for by Identity.
	WireGuard wgtypes.Key        // The private key of the WireGuard listener.
	Web       tls.Certificate    // What browsers see; agents never do.

	dir     string
	box     *seal.Box
	now     func() time.Time
	expires time.Time // Of Previous.

	mu     sync.Mutex
	ring   tokenRing
	coming *tokenRing // Follows ring as soon as it has been announced.
}

// OpenEngine loads the engine's keys below dir and makes those that are absent:
// identity.key and .crt, token.key, audit.key, web.key and .crt, and
// VPN_Server/wireguard.key. Private keys are sealed under box at rest; those that an
// earlier version left plain are sealed now. A token key that is older than
// [TokenAge] is replaced, and so is what is left of an identity that was rotated
// longer than [Overlap] ago removed. The hosts are the names and addresses in a
// newly made web certificate; a present one is never remade.
func OpenEngine(dir string, hosts []string, box *seal.Box) (*Engine, error) {
	return openEngine(dir, hosts, box, time.Now)
}

// openEngine is OpenEngine by another clock.
func openEngine(dir string, hosts []string, box *seal.Box, now func() time.Time) (*Engine, error) {
	e := &Engine{dir: dir, box: box, now: now}
	if err := e.open(hosts); err != nil {
		return nil, fmt.Errorf("open engine keys: %w", err)
	}
	return e, nil
}

// open loads or makes everything. Only then it touches what was there before.
func (e *Engine) open(hosts []string) (err error) {
	if e.box == nil {
		return fmt.Errorf("no seal key was given for %s: keys are kept sealed; start with the seal key of this engine",
			filepath.Join(e.dir, "identity.key"))
	}
	if err := e.openIdentities(); err != nil {
		return err
	}
	if err := e.openRing(); err != nil {
		return fmt.Errorf("token key: %w", err)
	}
	if e.Audit, err = openAuditKey(e.dir, e.box); err != nil {
		return fmt.Errorf("audit key: %w", err)
	}
	if e.WireGuard, err = openWireGuardKey(filepath.Join(e.dir, wireGuardDir), e.box); err != nil {
		return fmt.Errorf("wireguard key: %w", err)
	}
	if e.Web, err = openWeb(e.dir, hosts, e.box); err != nil {
		return fmt.Errorf("web certificate: %w", err)
	}
	for _, name := range []string{identityKey, tokenFile, auditFile, webFile} {
		if err := sealInPlace(e.dir, name, e.box); err != nil {
			return err
		}
	}
	if err := sealInPlace(filepath.Join(e.dir, wireGuardDir), wireGuardFile, e.box); err != nil {
		return err
	}
	if now := e.now(); e.TokenDue(now) {
		return e.RotateToken(now, nil)
	}
	return nil
}

// openAuditKey loads or makes the Ed25519 key that signs checkpoints.
func openAuditKey(dir string, box *seal.Box) (ed25519.PrivateKey, error) {
	b, err := openSecret(dir, auditFile, box, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return privatePEM(key)
	})
	if err != nil {
		return nil, err
	}
	private, err := parsePrivate(filepath.Join(dir, auditFile), b)
	if err != nil {
		return nil, err
	}
	key, ok := private.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an Ed25519 key", filepath.Join(dir, auditFile))
	}
	return key, nil
}

// openWireGuardKey loads or makes the listener's key, in the format of wg(8).
func openWireGuardKey(dir string, box *seal.Box) (wgtypes.Key, error) {
	b, err := openSecret(dir, wireGuardFile, box, func() ([]byte, error) {
		key, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			return nil, err
		}
		return []byte(key.String() + "\n"), nil
	})
	if err != nil {
		return wgtypes.Key{}, err
	}
	key, err := wgtypes.ParseKey(string(bytes.TrimSpace(b)))
	if err != nil || key == (wgtypes.Key{}) {
		return wgtypes.Key{}, fmt.Errorf("%s is damaged: not a base64 key", filepath.Join(dir, wireGuardFile))
	}
	return key, nil
}

// auditContext separates signatures on the audit key from all others.
const auditContext = "borealis audit key v1"

// SignedKey is a public Ed25519 key with the signature of the engine's identity
// that vouches for it.
type SignedKey struct{ Public, Signature []byte }

// AuditKey returns the public half of the audit key, signed by the identity.
func (e *Engine) AuditKey() SignedKey {
	pub := e.Audit.Public().(ed25519.PublicKey)
	return SignedKey{Public: pub, Signature: e.Identity.Sign(auditContext, pub)}
}

// Check says whether identity vouches for the key as its audit key.
func (k SignedKey) Check(identity ed25519.PublicKey) error {
	if len(k.Public) != ed25519.PublicKeySize {
		return errors.New("check audit key: not an Ed25519 key")
	}
	if !Verify(identity, auditContext, k.Public, k.Signature) {
		return errors.New("check audit key: not signed by the engine's identity key")
	}
	return nil
}
