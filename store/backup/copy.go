package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"borealis/store"
	"borealis/store/audit"
)

// copy copies everything that a backup holds to a folder, checks it, and describes it.
// Whatever refers to records goes before the database, so that the records are there.
func (c Config) copy(ctx context.Context, to string) (Manifest, error) {
	m := Manifest{Format: format, Version: version, EngineVersion: c.Version, Engine: c.Engine}
	names, err := c.small()
	if err != nil {
		return m, err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(c.Root, name), filepath.Join(to, name)); err != nil {
			return m, full(err)
		}
	}
	m.MadeAt = time.Now().UTC()
	db := filepath.Join(to, databasePath)
	if err := c.Store.Backup(ctx, db); err != nil {
		return m, err
	}
	s, err := store.Open(ctx, db)
	if err != nil {
		return m, fmt.Errorf("check the copy: %w", err)
	}
	err = c.describe(ctx, s, to, &m)
	if err = errors.Join(err, s.Close()); err != nil {
		return m, err
	}
	for _, name := range append(names, databasePath) {
		f := File{Path: name}
		if f.SHA256, f.Size, err = sum(ctx, filepath.Join(to, name)); err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
	}
	return m, m.check()
}

// describe checks the copied trail and notes how far it goes.
func (c Config) describe(ctx context.Context, s *store.Store, root string, m *Manifest) error {
	var err error
	if m.Schema, err = s.SchemaVersion(ctx); err != nil {
		return err
	}
	seq, hash, err := s.Head(ctx)
	if err != nil {
		return err
	}
	m.Seq, m.Hash = seq, hex.EncodeToString(hash[:])
	m.Trail, err = checkTrail(ctx, s, root, c.Trust)
	if err == nil && m.Trail != "" && !c.Despite {
		return &TrailError{m.Trail}
	}
	return err
}

// checkTrail verifies the trail of a data root; it returns what is wrong with it.
func checkTrail(ctx context.Context, s *store.Store, root string, trust Trust) (string, error) {
	known, err := s.Checkpoints(ctx)
	if err != nil {
		return "", err
	}
	var files []string
	path := filepath.Join(root, checkpointsPath)
	if f, err := os.Open(path); err == nil {
		found, _ := audit.ReadCheckpoints(f) // what cannot be read is in the report
		f.Close()
		known, files = append(known, found...), []string{path}
	}
	var vouched func(ed25519.PublicKey, []byte) error
	if trust != nil {
		if vouched, err = trust(root, known); err != nil {
			return "", err
		}
	}
	report, err := audit.VerifyStore(ctx, s, files, audit.Options{Vouched: vouched})
	if err != nil || report.OK() {
		return "", err
	}
	return report.Fault.Meaning, nil
}

// small is what a backup holds besides the database.
func (c Config) small() ([]string, error) {
	var names []string
	dir := filepath.Join(c.Root, certificatesPath)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") { // being written
			return err
		}
		name, err := filepath.Rel(c.Root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{checkpointsPath, cursorPath} {
		if _, err := os.Stat(filepath.Join(c.Root, name)); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// copyFile copies a file; of checkpoints it leaves out a last line that is being written.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err == nil && filepath.Base(to) == filepath.Base(checkpointsPath) {
		err = cutLine(out, n)
	}
	return errors.Join(err, out.Close())
}

// cutLine cuts a file of that size after its last complete line.
func cutLine(f *os.File, size int64) error {
	tail := make([]byte, min(size, 64<<10)) // far more than a checkpoint has
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	return f.Truncate(size - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')) + 1)
}

// sum is a file's SHA-256, in hexadecimal digits, and its size.
func sum(ctx context.Context, path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, reader{ctx, f})
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// A reader reads until its context ends.
type reader struct {
	ctx  context.Context //nolint:containedctx // lives as long as one io.Copy
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
