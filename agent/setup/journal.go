package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxLog bounds install.log; one older file is kept beside it.
const maxLog = 1 << 20

// journal writes install.log. What is said before its folder is there waits.
type journal struct {
	what string    // install or uninstall.
	also io.Writer // May be nil.
	path string

	early bytes.Buffer
	file  *os.File // nil until it is open.
}

// say adds one line. That it cannot be written is nobody's to hear: whoever installs sees
// the line itself.
func (j *journal) say(name, text string) {
	line := strings.NewReplacer("\r", "", "\n", "; ").Replace(text)
	line = fmt.Sprintf("%s %s: %s: %s\n", time.Now().UTC().Format(time.RFC3339), j.what, name, line)
	if j.also != nil {
		_, _ = io.WriteString(j.also, line)
	}
	if j.file != nil {
		_, _ = j.file.WriteString(line)
		return
	}
	j.early.WriteString(line)
}

// open opens the log in its folder, which is there, and writes what waits.
func (j *journal) open() error {
	if j.file != nil {
		return nil
	}
	if info, err := os.Stat(j.path); err == nil && info.Size() > maxLog {
		if err := os.Rename(j.path, j.path+".1"); err != nil {
			return fmt.Errorf("put the full log aside: %w", err)
		}
	}
	file, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if _, err := j.early.WriteTo(file); err != nil {
		file.Close()
		return fmt.Errorf("write the log: %w", err)
	}
	j.file = file
	return nil
}

// openIfThere opens the log when its folder is there.
func (j *journal) openIfThere() {
	if _, err := os.Stat(filepath.Dir(j.path)); !errors.Is(err, fs.ErrNotExist) {
		_ = j.open() // Who may not write it may not install either, and is told that.
	}
}

// close closes the log. What is said afterwards is not written to it.
func (j *journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}
