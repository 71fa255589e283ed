package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"borealis/store"
	"borealis/store/audit"
)

// What people and programs tell apart when a restore is refused.
var (
	// ErrInUse means that something is in the data root already.
	ErrInUse = errors.New("the data root is not empty")
	// ErrIdentity means that none of the identities opens the backup.
	ErrIdentity = errors.New("the identity does not open this backup: it was made for another one")
	// ErrDamaged means that the file is not as it was written, or not a backup.
	ErrDamaged = errors.New("the backup is damaged, or not a backup")
)

// RestoreConfig is what a data root is made of.
type RestoreConfig struct {
	File       string         // the backup
	Identities []age.Identity // one of them opens it
	Root       string         // the data root; it does not exist, or is empty, or Replace
	// Replace moves what is in Root aside, to a name that Restored tells. No engine may
	// work on it; that is for the caller to make sure.
	Replace bool
	Trust   Trust
	Despite bool // takes a trail that is not as it was written
	// Check is called with the complete new data root before it is put in place, which an
	// error prevents. Nil: nothing more is checked.
	Check func(ctx context.Context, root string, m Manifest) error
	Actor store.Record // who restores

	step func(string) // for tests: called before each step
}

// Restored is what came of a restore.
type Restored struct {
	Root     string
	Aside    string // where what was in Root is now; empty: nothing was
	SHA256   string // of the backup, hexadecimal
	Schema   int    // version of the database now
	Took     time.Duration
	Manifest Manifest
}

// Restore makes a data root of a backup. Everything is checked in a folder beside Root: the
// manifest, every file's hash, the database and the chain of records. Then it takes Root's
// place in one step. After an error, or a kill, Root is as it was.
func Restore(ctx context.Context, c RestoreConfig) (Restored, error) {
	begun := time.Now()
	r, err := c.restore(ctx)
	r.Took = time.Since(begun)
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", c.File, err)
	}
	return r, nil
}

func (c RestoreConfig) restore(ctx context.Context) (_ Restored, err error) {
	r := Restored{}
	var used bool
	if r.Root, used, err = rootPath(c.Root); err != nil {
		return r, err
	}
	if used && !c.Replace {
		return r, fmt.Errorf("%s: %w", r.Root, ErrInUse)
	}
	schema, err := store.Schema()
	if err != nil {
		return r, err
	}
	in, err := os.Open(c.File)
	if err != nil {
		return r, err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(r.Root), 0o700); err != nil {
		return r, err
	}
	w, err := newWorkspace(filepath.Dir(r.Root), "."+filepath.Base(r.Root)+restoring)
	if err != nil {
		return r, err
	}
	defer w.close()
	tree := filepath.Join(w.dir, treeName)
	c.at("unpack")
	h := sha256.New()
	if r.Manifest, err = unpack(ctx, io.TeeReader(in, h), tree, schema, c.Identities); err != nil {
		return r, err
	}
	r.SHA256 = hex.EncodeToString(h.Sum(nil))
	c.at("check")
	if r.Schema, err = c.finish(ctx, tree, r, used); err != nil {
		return r, err
	}
	if c.Check != nil {
		if err := c.Check(ctx, tree, r.Manifest); err != nil {
			return r, err
		}
	}
	if err := errors.Join(give(tree, r.Root), syncTree(tree)); err != nil {
		return r, err
	}
	if used {
		r.Aside = unused(fmt.Sprintf("%s.before-restore-%s", r.Root, stamp(time.Now())))
	}
	return r, c.put(w, r)
}

// at is called before each step.
func (c RestoreConfig) at(step string) {
	if c.step != nil {
		c.step(step)
	}
}

// rootPath is the real path of a data root, and whether there is anything in it.
func rootPath(root string) (path string, used bool, err error) {
	if path, err = filepath.Abs(root); err != nil {
		return "", false, err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	there, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, false, nil
	}
	return path, len(there) > 0, err
}

// finish makes what was unpacked a data root that an engine can go on with, after checking it.
func (c RestoreConfig) finish(ctx context.Context, tree string, r Restored, used bool) (schema int, err error) {
	if used {
		kept := fmt.Sprintf("%s.before-restore-%s", checkpointsPath, stamp(time.Now()))
		err := copyFile(filepath.Join(r.Root, checkpointsPath), filepath.Join(tree, kept))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, full(err)
		}
	}
	s, err := store.Open(ctx, filepath.Join(tree, databasePath)) // brings the schema up to date
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Check(ctx); err != nil {
		return 0, err
	}
	fault, err := checkTrail(ctx, s, tree, c.Trust)
	if err != nil {
		return 0, err
	}
	if fault != "" && !c.Despite {
		return 0, &TrailError{fault}
	}
	if err := meets(ctx, s, r.Manifest); err != nil {
		return 0, err
	}
	// A browser that had signed out since must not be signed in again.
	if _, err := s.DeleteExpiredSessions(ctx, time.Now(), time.Now()); err != nil {
		return 0, err
	}
	did := c.Actor
	did.Kind, did.Target = audit.RestoredKind, filepath.Base(c.File)
	did.Detail = fmt.Sprintf("the backup of %s, SHA-256 %s, made by Borealis %s; what was recorded after number %d until now is not in this trail",
		r.Manifest.MadeAt.Format(time.RFC3339), r.SHA256, r.Manifest.EngineVersion, r.Manifest.Seq)
	if err := s.AddRecord(ctx, did); err != nil {
		return 0, err
	}
	return s.SchemaVersion(ctx)
}

// errEnough ends a walk along the records.
var errEnough = errors.New("enough records")

// meets makes sure that a trail is the one that a manifest tells of.
func meets(ctx context.Context, s *store.Store, m Manifest) error {
	found := m.Seq == 0
	err := s.EachRecord(ctx, m.Seq-1, func(r store.Record) error {
		found = r.Seq == m.Seq && hex.EncodeToString(r.Hash[:]) == m.Hash
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if !found && m.Seq > 0 {
		return fmt.Errorf("%w: its trail does not end with the record that its manifest tells of", ErrDamaged)
	}
	return nil
}

// put gives the tree of a workspace the name of the data root.
func (c RestoreConfig) put(w *workspace, r Restored) error {
	tree, parent := filepath.Join(w.dir, treeName), filepath.Dir(r.Root)
	if r.Aside == "" {
		c.at("place")
		if err := renameOver(tree, r.Root); err != nil {
			return err
		}
		c.at("placed")
		return syncDir(parent)
	}
	if err := os.WriteFile(filepath.Join(w.dir, placingName), nil, 0o600); err != nil {
		return full(err)
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	c.at("place")
	if err := exchange(tree, r.Root); err != nil {
		os.Remove(filepath.Join(w.dir, placingName))
		return fmt.Errorf("put the new data root in place of %s: %w", r.Root, err)
	}
	c.at("placed")
	if err := os.Rename(tree, r.Aside); err != nil {
		return fmt.Errorf("name what was there before: %w", err)
	}
	c.at("aside")
	return syncDir(parent)
}

// syncTree makes sure that everything in a folder is on the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path)
	})
}
