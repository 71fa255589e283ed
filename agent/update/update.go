// Package update replaces the agent's program by a newer one, and takes that back when it does not work.
//
// The old program stages the new one beside itself, swaps the two by renaming them, starts
// a watcher and ends. The watcher is the old program under its new name. It starts the
// service and waits for the new program to write down that its engine has welcomed it. When
// that does not happen in time, the watcher swaps the two back. What is going on stands in
// one small file, so that nothing of it is forgotten when the device is switched off: a new
// program that finds nobody watching it starts the watcher itself.
//
// Only the agent writes that file while the service runs, and only the watcher while it
// does not.
package update

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"borealis/agent/release"
)

// Phases of an update.
const (
	Pending    = "pending"     // The new program is, or is about to be, in place. It has not checked in.
	Confirmed  = "confirmed"   // It has.
	RolledBack = "rolled_back" // It did not, and the old one is in place again.
)

// A State is how far an update is. It outlives the processes that take part.
type State struct {
	From     string `json:"from"`     // Version of the old program.
	To       string `json:"to"`       // Version of the new one.
	Sequence int64  `json:"sequence"` // Of the new one's release.
	Phase    string `json:"state"`    // Pending, Confirmed or RolledBack.
	Watches  int    `json:"watches"`  // How many watchers were started for it.
	Reason   string `json:"reason"`   // Why it was rolled back, a sentence for people; else "".
}

// Place is where an update happens.
type Place struct {
	Exe  string // Full path of the program that the service manager starts.
	Data string // The agent's data root.
}

// Names of the programs that take part, beside the one that the service manager starts.
func (p Place) staged() string   { return p.Exe + ".new" }
func (p Place) previous() string { return p.Exe + ".old" }

func (p Place) statePath() string { return filepath.Join(p.Data, "Agent", "update.json") }
func (p Place) lockPath() string  { return filepath.Join(p.Data, "Agent", "update.lock") }

// maxState is how much is read of a file that holds a [State], in bytes.
const maxState = 16 << 10

// Read returns how far the update is that happens, or happened last. The error is
// [fs.ErrNotExist] when there is none.
func (p Place) Read() (State, error) {
	var s State
	b, err := readFile(p.statePath())
	if err != nil {
		return State{}, fmt.Errorf("read the state of the update: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return State{}, fmt.Errorf("read the state of the update: %s: %w", p.statePath(), err)
	}
	return s, nil
}

// write replaces the state whole or not at all.
func (p Place) write(s State) error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("note how far the update is: %w", err)
	}
	if err := writeFile(p.statePath(), append(b, '\n')); err != nil {
		return fmt.Errorf("note how far the update is: %w", err)
	}
	return nil
}

// Settle is for the program that an engine has just welcomed, whose release has the
// sequence own. An update to it is confirmed by that. It returns what the engine has to
// hear: an update that is confirmed now or was rolled back. Of the latter nothing is left
// then. It reports false when there is nothing to tell.
func (p Place) Settle(own int64) (State, bool, error) {
	s, err := p.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, err
	}
	switch {
	case s.Phase == Pending && s.Sequence == own:
		s.Phase = Confirmed
		return s, true, p.write(s)
	case s.Phase == RolledBack:
		return s, true, p.forget()
	}
	return State{}, false, nil
}

// forget removes the state.
func (p Place) forget() error {
	if err := os.Remove(p.statePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the update: %w", err)
	}
	return nil
}

// Resume is for a program that starts. When an update is pending and nobody watches, it
// starts the watcher again; when an update was cut off before the new program was in place,
// it notes that. Otherwise it removes what an earlier update left.
func (p Place) Resume() error {
	unlock, err := lock(p.lockPath())
	if errors.Is(err, errLocked) {
		return nil // Somebody watches, and does what is to be done.
	}
	if err != nil {
		return fmt.Errorf("look for an update: %w", err)
	}
	unlock()
	s, err := p.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return errors.Join(err, p.forget())
	case s.Phase == Pending && p.isSwapped():
		s.Watches++
		if err := p.write(s); err != nil {
			return err
		}
		return p.watch()
	case s.Phase == Pending:
		s.Phase, s.Reason = RolledBack, "The device stopped before the new version was in place."
		if err := p.write(s); err != nil {
			return err
		}
	case s.Phase == Confirmed:
		if err := p.forget(); err != nil {
			return err
		}
	}
	return errors.Join(removeIfThere(p.staged()), removeIfThere(p.previous()))
}

// isSwapped reports whether the program in place is the new one of a pending update: only
// then is the old one beside it.
func (p Place) isSwapped() bool {
	_, err := os.Stat(p.previous())
	return !errors.Is(err, fs.ErrNotExist)
}

// Begin swaps the staged program of a release and the one that runs, whose version is from,
// and starts the watcher. After that the caller ends, and the watcher goes on. On any error
// everything is as it was.
func (p Place) Begin(from string, m release.Manifest) (err error) {
	unlock, err := lock(p.lockPath())
	if err != nil {
		return fmt.Errorf("begin the update: an earlier one is not over: %w", err)
	}
	unlock()
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	undo = append(undo, func() error { return removeIfThere(p.staged()) })
	if err := removeIfThere(p.previous()); err != nil {
		return fmt.Errorf("begin the update: %w", err)
	}
	if err := p.write(State{From: from, To: m.Version, Sequence: m.Sequence, Phase: Pending, Watches: 1}); err != nil {
		return err
	}
	undo = append(undo, p.forget)
	if err := os.Rename(p.Exe, p.previous()); err != nil {
		return fmt.Errorf("begin the update: %w", err)
	}
	undo = append(undo, func() error { return os.Rename(p.previous(), p.Exe) })
	if err := os.Rename(p.staged(), p.Exe); err != nil {
		return fmt.Errorf("begin the update: %w", err)
	}
	undo = append(undo, func() error { return os.Rename(p.Exe, p.staged()) })
	return p.watch()
}

// removeIfThere removes a file, if there is one.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an update left: %w", err)
	}
	return nil
}

// readFile reads a small file, and writeFile replaces one whole. On Windows either may have
// to wait a moment for another process that does the other thing.
func readFile(path string) (b []byte, err error) {
	err = persist(func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, maxState))
		return err
	})
	return b, err
}

func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = persist(func() error { return os.Rename(f.Name(), path) })
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// persist tries again what Windows refuses while another process has the file open.
func persist(do func() error) (err error) {
	const attempts, pause = 20, 25 * time.Millisecond
	for range attempts {
		if err = do(); err == nil || runtime.GOOS != "windows" || !errors.Is(err, fs.ErrPermission) && !shared(err) {
			return err
		}
		<-time.After(pause)
	}
	return err
}
