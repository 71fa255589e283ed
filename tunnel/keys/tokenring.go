package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

const (
	// TokenAge is how old the key that signs tokens becomes.
	TokenAge = 90 * 24 * time.Hour
	// TokenOverlap is how long the public half of a token key that was replaced
	// stays known: the two minutes that a token holds, and five more.
	TokenOverlap = 7 * time.Minute
)

// Headers of the PEM block in token.key.
const (
	headerMade    = "Made"    // When the key was made, RFC 3339.
	headerRetired = "Retired" // The keys before it: base64, a space, until when; separated by commas.
)

// tokenRing is the key that signs tokens, and the public halves of those before it
// whose tokens may still be about. It is one file, so it changes all at once.
type tokenRing struct {
	key     ed25519.PrivateKey
	made    time.Time
	retired []retiredKey // Newest first.
}

// retiredKey signed tokens before. Its private half is gone.
type retiredKey struct {
	public ed25519.PublicKey
	until  time.Time
}

// public is the public half of the key that signs.
func (r tokenRing) public() ed25519.PublicKey { return r.key.Public().(ed25519.PublicKey) }

// known returns the public keys whose tokens may be about at a moment, the one that
// signs first.
func (r tokenRing) known(now time.Time) []ed25519.PublicKey {
	all := []ed25519.PublicKey{r.public()}
	for _, k := range r.retired {
		if now.Before(k.until) {
			all = append(all, k.public)
		}
	}
	return all
}

// next returns a ring with a fresh key. This one is retired in it.
func (r tokenRing) next(now time.Time) (tokenRing, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tokenRing{}, fmt.Errorf("make token key: %w", err)
	}
	return tokenRing{key: key, made: now, retired: r.retire(now)}, nil
}

// retire lists the keys of the ring that a newer ring has to know.
func (r tokenRing) retire(now time.Time) []retiredKey {
	all := []retiredKey{{r.public(), now.Add(TokenOverlap)}}
	for _, k := range r.retired {
		if now.Before(k.until) && len(all) < maxRetired {
			all = append(all, k)
		}
	}
	return all
}

// maxRetired bounds the keys that are retired at one time, so that a welcome can
// name them all.
const maxRetired = 6

// encode returns the content of token.key.
func (r tokenRing) encode() ([]byte, error) {
	b, err := privatePEM(r.key)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	block.Headers = map[string]string{headerMade: r.made.UTC().Format(time.RFC3339)}
	if len(r.retired) > 0 {
		all := make([]string, len(r.retired))
		for i, k := range r.retired {
			all[i] = base64.StdEncoding.EncodeToString(k.public) + " " + k.until.UTC().Format(time.RFC3339)
		}
		block.Headers[headerRetired] = strings.Join(all, ",")
	}
	return pem.EncodeToMemory(block), nil
}

// decodeRing reads the content of token.key. Made is zero in a file of an earlier
// version.
func decodeRing(path string, b []byte) (tokenRing, error) {
	private, err := parsePrivate(path, b)
	if err != nil {
		return tokenRing{}, err
	}
	key, ok := private.(ed25519.PrivateKey)
	if !ok {
		return tokenRing{}, fmt.Errorf("%s: not an Ed25519 key", path)
	}
	r := tokenRing{key: key}
	block, _ := pem.Decode(b)
	if made, ok := block.Headers[headerMade]; ok {
		if r.made, err = time.Parse(time.RFC3339, made); err != nil {
			return tokenRing{}, fmt.Errorf("%s is damaged: %w", path, err)
		}
	}
	if retired, ok := block.Headers[headerRetired]; ok {
		for one := range strings.SplitSeq(retired, ",") {
			k, err := decodeRetired(one)
			if err != nil {
				return tokenRing{}, fmt.Errorf("%s is damaged: %w", path, err)
			}
			r.retired = append(r.retired, k)
		}
	}
	return r, nil
}

// decodeRetired reads one of the keys in a Retired header.
func decodeRetired(s string) (retiredKey, error) {
	public, until, _ := strings.Cut(s, " ")
	b, err := base64.StdEncoding.Strict().DecodeString(public)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return retiredKey{}, errors.New("a retired key that is none")
	}
	t, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return retiredKey{}, fmt.Errorf("a retired key: %w", err)
	}
	return retiredKey{public: b, until: t}, nil
}

// openRing loads or makes the token key. The age of one from an earlier version
// counts from now.
func (e *Engine) openRing() error {
	now := e.now()
	b, err := openSecret(e.dir, tokenFile, e.box, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return tokenRing{key: key, made: now}.encode()
	})
	if err != nil {
		return err
	}
	if e.ring, err = decodeRing(filepath.Join(e.dir, tokenFile), b); err != nil || !e.ring.made.IsZero() {
		return err
	}
	unlock, err := lockDir(e.dir)
	if err != nil {
		return err
	}
	defer unlock()
	e.ring.made = now
	return e.writeRing(e.ring)
}

// writeRing puts a ring in place of the one on disk. The caller has the directory's lock.
func (e *Engine) writeRing(r tokenRing) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(e.dir, tokenFile), sealed(e.box, tokenFile, b))
}

// TokenDue reports whether the key that signs tokens is as old as [TokenAge] at a
// moment.
func (e *Engine) TokenDue(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Sub(e.ring.made) >= TokenAge
}

// RotateToken replaces the key that signs tokens by a fresh one. The public half of
// the old one stays known for [TokenOverlap]. In between, when both are known and the
// old one still signs, it calls announce if that is not nil. When another process has
// replaced the key on disk already, that one is taken.
func (e *Engine) RotateToken(now time.Time, announce func()) error {
	unlock, err := lockDir(e.dir)
	if err != nil {
		return fmt.Errorf("rotate token key: %w", err)
	}
	defer unlock()
	next, err := e.nextRing(now)
	if err == nil {
		err = e.writeRing(next)
	}
	if err != nil {
		return fmt.Errorf("rotate token key: %w", err)
	}
	e.mu.Lock()
	e.coming = &next
	e.mu.Unlock()
	if announce != nil {
		announce()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ring, e.coming = next, nil
	return nil
}

// nextRing makes the ring that follows. The caller has the directory's lock, so the
// one in memory does not change meanwhile.
func (e *Engine) nextRing(now time.Time) (tokenRing, error) {
	path := filepath.Join(e.dir, tokenFile)
	b, err := readKey(e.dir, tokenFile, e.box)
	if errors.Is(err, fs.ErrNotExist) {
		return tokenRing{}, fmt.Errorf("%s is missing: restore it from a backup, or start the engine again to make a new one", path)
	}
	if err != nil {
		return tokenRing{}, err
	}
	disk, err := decodeRing(path, b)
	if err != nil {
		return tokenRing{}, err
	}
	e.mu.Lock()
	ring := e.ring
	e.mu.Unlock()
	if disk.key.Equal(ring.key) {
		return ring.next(now)
	}
	disk.retired = ring.retire(now)
	return disk, nil
}

// TokenSigner returns the key that signs tokens now, and its id. The caller must not
// keep it: it changes with [Engine.RotateToken].
func (e *Engine) TokenSigner() (id string, key ed25519.PrivateKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return tokenKeyID(e.ring.public()), e.ring.key
}

// TokenPublic returns the public keys, by id, whose tokens may be about now.
func (e *Engine) TokenPublic() map[string]ed25519.PublicKey {
	all := make(map[string]ed25519.PublicKey)
	for _, pub := range e.tokensKnown() {
		all[tokenKeyID(pub)] = pub
	}
	return all
}

// TokenKeys returns the public token keys that agents have to know now, each signed
// by an identity of the engine. The newest is the first.
func (e *Engine) TokenKeys(by *Identity) []TokenKey {
	known := e.tokensKnown()
	all := make([]TokenKey, len(known))
	for i, pub := range known {
		all[i] = TokenKey{ID: tokenKeyID(pub), Public: pub, Signature: by.Sign(tokenKeyContext, pub)}
	}
	return all
}

func (e *Engine) tokensKnown() []ed25519.PublicKey {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.coming != nil {
		return e.coming.known(e.now())
	}
	return e.ring.known(e.now())
}
