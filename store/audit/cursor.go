package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readCursor reads the number of a record; zero when there is no file.
func readCursor(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read how far the log server has got: %w", err)
	}
	seq, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || seq < 0 {
		return 0, fmt.Errorf("%s does not hold the number of a record: everything is sent again", path)
	}
	return seq, nil
}

// writeCursor replaces the file at once or not at all.
func writeCursor(path string, seq int64) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("note how far the log server has got: %w", err)
	}
	_, err = f.WriteString(strconv.FormatInt(seq, 10) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("note how far the log server has got: %w", err)
	}
	return nil
}

// Sent returns the number of the last record that the log server is taken to have, zero for none.
func (f *Forwarder) Sent() (seq int64, err error) { return readCursor(f.config.Cursor) }
