package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// encrypt writes the files of a folder that a manifest lists to a new file.
func encrypt(ctx context.Context, path, root string, m Manifest, to []age.Recipient) (digest string, size int64, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	counted := &counter{to: io.MultiWriter(out, h)}
	sealed, err := age.Encrypt(counted, to...)
	if err != nil {
		return "", 0, err
	}
	if err := pack(ctx, sealed, root, m); err != nil {
		return "", 0, err
	}
	if err := sealed.Close(); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), counted.n, out.Sync()
}

// pack writes a manifest and its files as a tar archive.
func pack(ctx context.Context, to io.Writer, root string, m Manifest) error {
	archive := tar.NewWriter(to)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(header(manifestName, int64(len(text)), m.MadeAt)); err != nil {
		return err
	}
	if _, err := archive.Write(text); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := packFile(ctx, archive, filepath.Join(root, f.Path), header(f.Path, f.Size, m.MadeAt)); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return archive.Close()
}

func header(name string, size int64, at time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}
}

func packFile(ctx context.Context, archive *tar.Writer, path string, h *tar.Header) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(archive, reader{ctx, f})
	return err
}

// A counter counts what passes.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// reread makes sure that what is on the disk is what was written, as far as that can be
// told without the identity.
func reread(ctx context.Context, path string, m Made) error {
	const magic = "age-encryption.org/v1\n"
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	begins := make([]byte, len(magic))
	_, err = io.ReadFull(f, begins)
	f.Close()
	digest, size, sumErr := sum(ctx, path)
	if err = errors.Join(err, sumErr); err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}
	if string(begins) != magic || digest != m.SHA256 || size != m.Size {
		return errors.New("the file is not what was written to it: the disk may be failing")
	}
	return nil
}
