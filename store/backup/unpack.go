package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"filippo.io/age"

	"borealis/store"
)

// unpack reads a backup to its end and writes its files below a new folder. Nothing of it is
// trusted: the names and sizes have to be those of a backup, the files those of its manifest.
func unpack(ctx context.Context, from io.Reader, to string, schema int, with []age.Identity) (Manifest, error) {
	from = bufio.NewReaderSize(reader{ctx, from}, 1<<16)
	plain, err := age.Decrypt(from, with...)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return Manifest{}, ErrIdentity
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	m, err := unpackArchive(plain, to, schema)
	if err != nil {
		return m, err
	}
	// To the end, where age tells whether something was cut off.
	if n, err := io.Copy(io.Discard, plain); err != nil || n > 1<<20 {
		return m, fmt.Errorf("%w: it does not end where it should", ErrDamaged)
	}
	if n, err := io.Copy(io.Discard, from); err != nil || n > 0 {
		return m, fmt.Errorf("%w: something follows it", ErrDamaged)
	}
	return m, nil
}

// unpackArchive is unpack for what was decrypted.
func unpackArchive(plain io.Reader, to string, schema int) (Manifest, error) {
	archive := tar.NewReader(plain)
	m, err := first(archive, schema)
	if err != nil {
		return Manifest{}, err
	}
	if err := roomFor(filepath.Dir(to), m.bytes()); err != nil {
		return Manifest{}, err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return Manifest{}, full(err)
	}
	root, err := os.OpenRoot(to) // nothing is written outside
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = root.Close() }()
	for _, f := range m.Files {
		if err := unpackFile(archive, root, f); err != nil {
			return Manifest{}, err
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%w: there is more in it than its manifest says", ErrDamaged)
	}
	return m, nil
}

// first reads the manifest, which is the first file.
func first(archive *tar.Reader, schema int) (Manifest, error) {
	h, err := archive.Next()
	if err != nil || h.Name != manifestName || h.Typeflag != tar.TypeReg {
		return Manifest{}, fmt.Errorf("%w: it does not begin with a manifest", ErrDamaged)
	}
	m, err := readManifest(archive, schema)
	if _, newer := errors.AsType[*NewerError](err); err != nil && !newer {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, err
}

// unpackFile writes the next file, which has to be the one that the manifest names.
func unpackFile(archive *tar.Reader, root *os.Root, f File) (err error) {
	h, err := archive.Next()
	if err != nil || h.Name != f.Path || h.Typeflag != tar.TypeReg || h.Size != f.Size {
		return fmt.Errorf("%w: %s is not where its manifest says", ErrDamaged, f.Path)
	}
	name := filepath.FromSlash(f.Path)
	if err := root.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o700); err != nil {
		return full(err)
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return full(err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	digest := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, digest), archive); err != nil {
		if err = full(err); errors.Is(err, store.ErrFull) {
			return err
		}
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Path, err)
	}
	if hex.EncodeToString(digest.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s does not have the hash that its manifest says", ErrDamaged, f.Path)
	}
	return nil
}
