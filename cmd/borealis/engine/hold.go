package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"borealis/cmd/hint"
	"borealis/store/backup"
)

// holdGrace is how long a data root may be held by what a killed engine left: a child that
// it was about to start has the lock for a moment longer.
const holdGrace = time.Second

// Hold keeps other engines, and a restore, away from the data root until release is called
// or this process ends, however it ends.
func (d Root) Hold(ctx context.Context) (release func(), err error) {
	path := filepath.Join(string(d), "Engine", "engine.lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("hold the data root: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &hint.Error{Err: fmt.Errorf("hold the data root: %w", err), Hint: "run as the user that owns " + string(d)}
	}
	if err := d.lock(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.Truncate(0); err == nil { // who it is, for others to tell; the lock counts without it
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return func() { f.Close() }, nil
}

// lock locks the file, or says who has it.
func (d Root) lock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for giveUp := time.After(holdGrace); ; {
		mine, err := backup.Lock(f)
		if err != nil {
			return fmt.Errorf("hold the data root: %w", err)
		}
		if mine {
			return nil
		}
		select {
		case <-tick.C:
		case <-giveUp:
			return d.held(f)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// held is the error of a data root that somebody else has.
func (d Root) held(f *os.File) error {
	who, by := make([]byte, 20), ""
	if n, _ := f.ReadAt(who, 0); n > 0 {
		by = " as process " + strings.TrimSpace(string(who[:n]))
	}
	return &hint.Error{
		Err:  fmt.Errorf("an engine works on %s already%s", string(d), by),
		Hint: "stop it first, with \"systemctl stop borealis\" when systemd runs it; or name another data root with --data",
	}
}
