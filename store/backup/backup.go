// Package backup makes one encrypted file of an engine's data, and an engine's data of such a file.
//
// # What is in it
//
// A backup is an age file (age-encryption.org/v1) around a tar archive: manifest.json, then
// the database as it was at one moment, the folder Engine/Certificates with the engine's keys
// as they are on the disk, the file of signed checkpoints, and how far the log server has
// got. Any age program can open it with the identity that it was made for.
//
// The key that unseals the engine's keys is not in it, and neither are logs, drivers,
// downloads, and what belongs to the host, such as a unit file. Whoever opens a backup can
// read the trail and the names of devices and operators, but cannot be the engine.
//
// # What a restore does to the trail
//
// A restored engine has forgotten what came after its backup, and so checkpoints that were
// signed later do not fit its trail any more. A restore makes that visible: the first record
// after those of the backup says "restored", from which backup and by whom; the checkpoints
// that were beside a replaced database are kept as they are, named by the time; and the
// restored engine's own file begins with those of the backup.
//
// # After a kill
//
// Nothing of either is half done. What is being made lies in a folder with a name of its own
// that its maker holds a lock on, and the next run removes folders that nobody holds. A new
// data root takes the place of the old one in a single step.
package backup

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"borealis/store"
)

// reserve is how much must be left on a disk when a backup or a restore is done, in bytes,
// so that the engine can go on writing.
const reserve = 16 << 20

// Trust tells how to check the keys of checkpoints with the engine identity in a data root,
// see [borealis/store/audit.Options]; known are all checkpoints that will be checked.
type Trust func(root string, known []store.Checkpoint) (func(key ed25519.PublicKey, vouch []byte) error, error)

// Config is what a backup is made of.
type Config struct {
	Store      *store.Store    // of Root; others may use it meanwhile
	Root       string          // the data root
	Version    string          // of this program
	Engine     string          // pin of the engine's identity
	Recipients []age.Recipient // who will be able to open it; at least one
	Trust      Trust
	// Despite makes a backup also of a trail that is not as it was written. The manifest
	// says what is wrong.
	Despite bool
	// Record is called with what was made before it is put in place, which an error
	// prevents.
	Record func(context.Context, Made) error

	step func(string) // for tests: called before each step
}

// Made is what came of a backup.
type Made struct {
	Path     string
	SHA256   string // of the file, hexadecimal
	Size     int64  // bytes
	Took     time.Duration
	Manifest Manifest
}

// A TrailError is a trail that is not as it was written.
type TrailError struct{ Meaning string }

// Error says what is wrong, for people.
func (e *TrailError) Error() string { return e.Meaning }

// Make writes a backup to a new file at path, which only its owner reads. The file appears
// when it is complete, checked and on the disk, or not at all. It takes about 3 seconds and
// twice the database's size on the disk for each 100 MB.
func Make(ctx context.Context, c Config, path string) (Made, error) {
	begun := time.Now()
	m, err := c.make(ctx, path)
	m.Took = time.Since(begun)
	if err != nil {
		return Made{}, fmt.Errorf("back up %s: %w", c.Root, err)
	}
	return m, nil
}

func (c Config) make(ctx context.Context, path string) (_ Made, err error) {
	if len(c.Recipients) == 0 {
		return Made{}, errors.New("nobody could open it: it needs a recipient")
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return Made{}, err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return Made{}, fmt.Errorf("%s: %w, and a backup replaces nothing", path, fs.ErrExist)
	}
	engine := filepath.Join(c.Root, "Engine")
	plain, err := newWorkspace(engine, ".backup-") // where the database is, and as well guarded
	if err != nil {
		return Made{}, err
	}
	defer plain.close()
	sealed, err := newWorkspace(filepath.Dir(path), ".borealis-backup-")
	if err != nil {
		return Made{}, err
	}
	defer sealed.close()
	if err := c.room(plain.dir, sealed.dir); err != nil {
		return Made{}, err
	}
	c.at("copy")
	manifest, err := c.copy(ctx, plain.dir)
	if err != nil {
		return Made{}, err
	}
	c.at("encrypt")
	part := filepath.Join(sealed.dir, "part")
	made := Made{Path: path, Manifest: manifest}
	if made.SHA256, made.Size, err = encrypt(ctx, part, plain.dir, manifest, c.Recipients); err != nil {
		return Made{}, fmt.Errorf("encrypt: %w", full(err))
	}
	c.at("reread")
	if err := reread(ctx, part, made); err != nil {
		return Made{}, err
	}
	if c.Record != nil {
		if err := c.Record(ctx, made); err != nil {
			return Made{}, err
		}
	}
	c.at("place")
	return made, place(part, path)
}

// at is called before each step.
func (c Config) at(step string) {
	if c.step != nil {
		c.step(step)
	}
}

// room makes sure that both disks have room, before anything is written.
func (c Config) room(plain, sealed string) error {
	var need int64
	for _, name := range []string{databasePath, databasePath + "-wal", checkpointsPath} {
		if info, err := os.Stat(filepath.Join(c.Root, name)); err == nil {
			need += info.Size()
		}
	}
	if oneDisk(plain, sealed) {
		return roomFor(plain, 2*need)
	}
	return errors.Join(roomFor(plain, need), roomFor(sealed, need))
}

// A NoRoomError is a disk that is too full for a backup or a restore.
type NoRoomError struct {
	Dir        string // a folder on the disk
	Need, Free int64  // bytes; Need includes what must stay free
}

// Error says how much is missing.
func (e *NoRoomError) Error() string {
	return fmt.Sprintf("there is no space for it on the disk of %s: it needs %s, and %s are free", e.Dir, size(e.Need), size(e.Free))
}

// size is a number of bytes for people.
func size(n int64) string {
	const mb = 1 << 20
	return fmt.Sprintf("%d MiB", (n+mb-1)/mb)
}

// roomFor makes sure that the disk of a folder has room.
func roomFor(dir string, need int64) error {
	have, err := free(dir)
	if err != nil {
		return fmt.Errorf("look for free space: %w", err)
	}
	if have < need+reserve {
		return &NoRoomError{Dir: dir, Need: need + reserve, Free: have}
	}
	return nil
}
