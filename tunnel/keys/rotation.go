package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"borealis/tunnel/keys/seal"
)

// Overlap is how long an identity that was replaced is still served, so that agents
// which come by learn of the new one.
const Overlap = 30 * 24 * time.Hour

// ErrOverlap is returned by [RotateIdentity] while the identity before is still served.
var ErrOverlap = errors.New("the identity was rotated less than 30 days ago")

// Files of a rotation. The record is what counts: with it a rotation has happened,
// whatever has been moved yet.
const (
	identityKey  = "identity.key"
	rotationFile = "rotation.json"
	engineName   = "Borealis engine" // In certificates, for people.
)

// rotation is the record of the last rotation of the identity.
type rotation struct {
	At  time.Time `json:"at"`
	Old Pin       `json:"old"`
	New Pin       `json:"new"`
}

// identityPair is one of the engine's identities on disk: "identity" is the one in
// use, "identity-previous" the one before, and "identity-next" one that a rotation
// has not put into its place yet. That one is sealed for the place where it goes.
func identityPair(dir, file string, box *seal.Box) certPair {
	return certPair{dir: dir, key: file + ".key", cert: file + ".crt", box: box}
}

func currentPair(dir string, box *seal.Box) certPair { return identityPair(dir, "identity", box) }
func previousPair(dir string, box *seal.Box) certPair {
	return identityPair(dir, "identity-previous", box)
}

// openIdentities loads the identity, or makes it, and the one before while it is
// still served.
func (e *Engine) openIdentities() error {
	r, err := readRotation(e.dir)
	if err != nil {
		return err
	}
	if r == nil {
		if left, err := exists(previousPair(e.dir, nil).keyPath()); err != nil || left {
			return errors.Join(err, fmt.Errorf("%s is there but %s is missing: restore both from a backup",
				previousPair(e.dir, nil).keyPath(), filepath.Join(e.dir, rotationFile)))
		}
		e.Identity, err = openIdentity(currentPair(e.dir, e.box), engineName)
		return err
	}
	unlock, err := lockDir(e.dir)
	if err != nil {
		return err
	}
	defer unlock()
	e.Identity, e.Previous, err = r.settle(e.dir, e.box, e.now())
	e.expires = r.At.Add(Overlap)
	return err
}

// readRotation reads the record of the last rotation; it is nil when there is none.
func readRotation(dir string) (*rotation, error) {
	path := filepath.Join(dir, rotationFile)
	b, _, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r rotation
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() || r.Old.IsZero() || r.New.IsZero() || r.At.IsZero() {
		return nil, fmt.Errorf("%s is damaged: restore it from a backup", path)
	}
	return &r, nil
}

// settle finishes a rotation that was broken off, removes what is left of it after
// the overlap, and loads the identities. The caller has the directory's lock.
func (r *rotation) settle(dir string, box *seal.Box, now time.Time) (current, previous *Identity, err error) {
	if err := r.move(dir, box); err != nil {
		return nil, nil, fmt.Errorf("finish the rotation of the identity: %w", err)
	}
	if current, err = loadIdentity(currentPair(dir, box)); err != nil {
		return nil, nil, err
	}
	old := previousPair(dir, box)
	if current.Pin() != r.New {
		return nil, nil, fmt.Errorf("%s has another key than %s tells of: restore both from one backup",
			currentPair(dir, box).keyPath(), filepath.Join(dir, rotationFile))
	}
	if now.Sub(r.At) >= Overlap {
		return current, nil, forget(old.keyPath(), old.certPath(), filepath.Join(dir, rotationFile))
	}
	if previous, err = loadIdentity(old); err != nil {
		return nil, nil, err
	}
	if previous.Pin() != r.Old {
		return nil, nil, fmt.Errorf("%s has another key than %s tells of: restore both from one backup",
			old.keyPath(), filepath.Join(dir, rotationFile))
	}
	return current, previous, nil
}

// move puts the identities into their places. It may have been broken off anywhere:
// the old one is copied first, then key and certificate of the next one are moved.
func (r *rotation) move(dir string, box *seal.Box) error {
	current, next := currentPair(dir, box), identityPair(dir, "identity-next", box)
	if waits, err := exists(next.keyPath()); err != nil {
		return err
	} else if waits {
		old, err := loadIdentity(current)
		if err != nil {
			return err
		}
		if old.Pin() != r.Old {
			return fmt.Errorf("%s is not the identity that was rotated: restore it from a backup", current.keyPath())
		}
		if err := previousPair(dir, box).replace(old); err != nil {
			return err
		}
		if err := rename(next.keyPath(), current.keyPath()); err != nil {
			return err
		}
	}
	if waits, err := exists(next.certPath()); err != nil || !waits {
		return err
	}
	return rename(next.certPath(), current.certPath())
}

// replace writes an identity over whatever the pair was before.
func (p certPair) replace(i *Identity) error {
	block, err := privatePEM(i.private)
	if err != nil {
		return err
	}
	if err := writeFile(p.keyPath(), sealed(p.box, p.key, block)); err != nil {
		return err
	}
	return writeFile(p.certPath(), certPEM(i.cert))
}

// rename moves a file within its directory so that it lasts.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// forget removes files in that order; those that are absent do not matter.
func forget(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(filepath.Dir(paths[0]))
}

// RotateIdentity replaces the identity of the engine whose keys are in dir, while it
// does not run. When it starts again it has both: new enrolment codes name the new
// one, and agents that have pinned the old one are served it for [Overlap] and told
// of the new one, over its signature. The error is [ErrOverlap] while the one before
// is still served: agents know two at most. What was broken off is finished or undone
// at the next opening.
func RotateIdentity(dir string, box *seal.Box, now time.Time) (old, fresh Pin, err error) {
	if old, fresh, err = rotateIdentity(dir, box, now); err != nil {
		return Pin{}, Pin{}, fmt.Errorf("rotate identity: %w", err)
	}
	return old, fresh, nil
}

func rotateIdentity(dir string, box *seal.Box, now time.Time) (old, fresh Pin, err error) {
	if box == nil {
		return old, fresh, errors.New("no seal key was given: keys are kept sealed")
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return old, fresh, err
	}
	defer unlock()
	identity, err := settled(dir, box, now)
	if err != nil {
		return old, fresh, err
	}
	next := identityPair(dir, "identity-next", nil)
	if err := forget(next.keyPath(), next.certPath()); err != nil { // Of a rotation that never came to be.
		return old, fresh, err
	}
	born, err := NewIdentity(engineName)
	if err != nil {
		return old, fresh, err
	}
	block, err := privatePEM(born.private)
	if err != nil {
		return old, fresh, err
	}
	if err := writeNew(next.keyPath(), sealed(box, identityKey, block)); err != nil {
		return old, fresh, err
	}
	if err := writeNew(next.certPath(), certPEM(born.cert)); err != nil {
		return old, fresh, err
	}
	r := rotation{At: now.UTC().Truncate(time.Second), Old: identity.Pin(), New: born.Pin()}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return old, fresh, err
	}
	if err := writeFile(filepath.Join(dir, rotationFile), append(b, '\n')); err != nil { // Now it has happened.
		return old, fresh, err
	}
	_, _, err = r.settle(dir, box, now)
	return r.Old, r.New, err
}

// settled loads the identity that is to be rotated. The caller has the directory's lock.
func settled(dir string, box *seal.Box, now time.Time) (*Identity, error) {
	r, err := readRotation(dir)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return loadIdentity(currentPair(dir, box))
	}
	current, previous, err := r.settle(dir, box, now)
	if err == nil && previous != nil {
		err = fmt.Errorf("%w: the one before is served until %s, and agents know two at most",
			ErrOverlap, r.At.Add(Overlap).Format(time.DateOnly))
	}
	return current, err
}

// ByPrefix returns the engine's identity that an agent asks for by the beginning of
// its pin. Without such a one it is the newest.
func (e *Engine) ByPrefix(prefix string) *Identity {
	if prefix != "" && e.Previous != nil && e.now().Before(e.expires) && strings.HasPrefix(e.Previous.Pin().String(), prefix) {
		return e.Previous
	}
	return e.Identity
}

// nextContext separates announcements of identities from all other signatures.
const nextContext = "borealis next identity v1"

// NextIdentity announces the identity that follows another one of the same engine.
type NextIdentity struct {
	Public    []byte `json:"public"`    // An Ed25519 public key.
	Signature []byte `json:"signature"` // By the identity before, over its own pin and Public.
}

// Next returns the announcement for agents that were served an identity, or nil when
// that is the newest.
func (e *Engine) Next(by *Identity) *NextIdentity {
	if e.Previous == nil || by.Pin() != e.Previous.Pin() {
		return nil
	}
	pub := e.Identity.Public()
	return &NextIdentity{Public: pub, Signature: by.Sign(nextContext, announced(by.Pin(), pub))}
}

// Check returns the pin of the announced identity when the identity before vouches
// for it.
func (n NextIdentity) Check(before ed25519.PublicKey) (Pin, error) {
	if len(n.Public) != ed25519.PublicKeySize || len(before) != ed25519.PublicKeySize {
		return Pin{}, errors.New("check next identity: not an Ed25519 key")
	}
	if bytes.Equal(n.Public, before) {
		return Pin{}, errors.New("check next identity: the same one again")
	}
	if !Verify(before, nextContext, announced(PinOf(before), n.Public), n.Signature) {
		return Pin{}, errors.New("check next identity: not signed by the identity before")
	}
	return PinOf(n.Public), nil
}

// announced is what is signed of an announcement.
func announced(by Pin, next ed25519.PublicKey) []byte { return append(by[:], next...) }
