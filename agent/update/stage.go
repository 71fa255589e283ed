package update

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"borealis/agent/release"
)

// Stage puts a new program beside the one that runs. Fill writes its bytes; what it wrote is
// read back and has to be the file that the release names. On any error nothing of it is
// left. A program that was staged before is replaced.
func (p Place) Stage(want release.File, fill func(io.Writer) error) (err error) {
	if err := removeIfThere(p.staged()); err != nil {
		return err
	}
	f, err := os.OpenFile(p.staged(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755) //nolint:gosec // It is a program.
	if err != nil {
		return fmt.Errorf("put the new program beside the old one: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(p.staged())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("put the new program beside the old one: %w", err)
	}
	return verify(f, want)
}

// verify says whether a file is the one that a release names.
func verify(f io.ReadSeeker, want release.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the new program back: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, want.Size+1))
	if err != nil {
		return fmt.Errorf("read the new program back: %w", err)
	}
	if n != want.Size || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return errors.New("the new program is not the one that the release names: it was changed or cut off on its way")
	}
	return nil
}
