package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"borealis/cmd/hint"
	"borealis/store"
)

// restorable adds to an error of opening the database how to get it back.
func (d Root) restorable(err error) error {
	command := fmt.Sprintf("borealis restore BACKUP --identity IDENTITY --data %s --replace", string(d))
	switch {
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrForeign):
		return &hint.Error{Err: err, Hint: "stop the engine and restore the newest backup:\n  " + command + "\nwhat is in " + string(d) + " is moved aside then; nothing was changed or deleted"}
	case errors.Is(err, store.ErrNewer):
		advice := "install the newer Borealis again, or go back to a backup that this one made:\n  " + command
		if kept, _ := filepath.Glob(d.Database() + ".before-*"); len(kept) > 0 {
			advice += "\n" + kept[0] + " is the database as it was before the newer one changed it"
		}
		return &hint.Error{Err: err, Hint: advice}
	case errors.Is(err, store.ErrFull):
		return &hint.Error{Err: err, Hint: "free some space on the disk of " + d.Database()}
	}
	return err
}

// diskHint adds to the failure of an open database what to do.
func diskHint(err error) error {
	return &hint.Error{
		Err:  fmt.Errorf("the engine ends: %w", err),
		Hint: "the disk, or its file system, has a fault: see dmesg and smartctl. A supervisor such as systemd starts the engine again; when it does not start, restore a backup on another disk",
	}
}
