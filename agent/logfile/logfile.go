// Package logfile keeps a log in a file of bounded size and age.
//
// The libraries for this turn files in a goroutine that outlives Close, and delete by a clock that
// nothing asks for; here all is done by the write that needs it, so nothing runs while nobody logs.
package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// What a zero [Config] means.
const (
	defaultSize = 10 << 20
	defaultAge  = 30 * 24 * time.Hour
	defaultKeep = 9
	maxKeep     = 999
)

// Config says which file, and how much of it. Only Path is needed.
type Config struct {
	Path    string        // Its folder is made when it is absent.
	MaxSize int64         // Bytes of one file; 0 is 10 MiB. A single longer write has a file of its own.
	MaxAge  time.Duration // Older files go when one is begun anew, or opened; 0 is 30 days.
	Keep    int           // Older files beside it, at Path + ".1", the newest, and so on; 0 is 9.
}

// File is a log. It begins anew when it is full, and with the first write of another day by the
// local clock. A write that fails, on a full disk say, loses what it was to write, whole, and
// nothing else: later ones are written as soon as they can be. A file, or its folder, that
// somebody takes away is made again. A File is safe for concurrent use; whoever opened it closes it.
type File struct {
	c   Config
	now func() time.Time

	mu     sync.Mutex
	file   *os.File // nil while there is none that can be written.
	size   int64
	day    string // Of its last write.
	closed bool
}

// Open opens a log for appending, readable by its owner only. Files that are too old go.
func Open(c Config) (*File, error) { return open(c, time.Now) }

// open is Open by a clock.
func open(c Config, now func() time.Time) (*File, error) {
	if c.MaxSize < 0 || c.MaxAge < 0 || c.Keep < 0 || c.Keep > maxKeep {
		return nil, fmt.Errorf("open the log %s: size %d, age %v and %d older files: none may be negative, and %d files are the most",
			c.Path, c.MaxSize, c.MaxAge, c.Keep, maxKeep)
	}
	if c.MaxSize == 0 {
		c.MaxSize = defaultSize
	}
	if c.MaxAge == 0 {
		c.MaxAge = defaultAge
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	f := &File{c: c, now: now}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	f.expire()
	return f, nil
}

// Write adds p, whole or not at all. The error is [os.ErrClosed] after [File.Close].
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fmt.Errorf("write to the log: %w", os.ErrClosed)
	}
	if f.lost() {
		if err := f.reopen(); err != nil {
			return 0, err
		}
	}
	today := dayOf(f.now())
	if f.size > 0 && (f.size+int64(len(p)) > f.c.MaxSize || f.day != today) {
		if err := f.turn(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	if err != nil {
		if n > 0 {
			_ = f.file.Truncate(f.size) // Half a line would spoil the next one.
		}
		return 0, fmt.Errorf("write to the log: %w", err)
	}
	f.size += int64(n)
	f.day = today
	return n, nil
}

// Close closes the log. It may be called more than once.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// lost reports whether what is written now would not be found at the log's path.
func (f *File) lost() bool {
	if f.file == nil {
		return true
	}
	there, err := os.Stat(f.c.Path)
	if err != nil {
		return true
	}
	ours, err := f.file.Stat()
	return err != nil || !os.SameFile(there, ours)
}

// reopen opens the file that is at the log's path, or makes it. What was open is closed.
func (f *File) reopen() error {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
	if err := os.MkdirAll(filepath.Dir(f.c.Path), 0o700); err != nil {
		return fmt.Errorf("make the log's folder: %w", err)
	}
	file, err := os.OpenFile(f.c.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("open the log: %w", err)
	}
	f.file, f.size, f.day = file, info.Size(), dayOf(info.ModTime())
	return nil
}

// turn puts the file aside as the newest of the older ones, and begins it anew. On Windows a
// file that another program holds open cannot be put aside: then it is emptied.
func (f *File) turn() error {
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("close the full log: %w", err)
	}
	f.file = nil
	f.expire()
	for n := f.c.Keep; n > 1; n-- {
		_ = os.Rename(f.older(n-1), f.older(n)) // One that is absent, or held open, stays where it is.
	}
	if err := os.Rename(f.c.Path, f.older(1)); err != nil {
		if err := os.Truncate(f.c.Path, 0); err != nil {
			return errors.Join(fmt.Errorf("empty the log: %w", err), f.reopen())
		}
	}
	return f.reopen()
}

// older is the path of the nth older file.
func (f *File) older(n int) string { return f.c.Path + "." + strconv.Itoa(n) }

// expire deletes the older files that are too old.
func (f *File) expire() {
	for n := 1; n <= f.c.Keep; n++ {
		if info, err := os.Stat(f.older(n)); err == nil && f.now().Sub(info.ModTime()) > f.c.MaxAge {
			_ = os.Remove(f.older(n)) // If it is held open, the next one tries again.
		}
	}
}

// dayOf is the day of a moment by the local clock.
func dayOf(t time.Time) string { return t.Local().Format(time.DateOnly) }
