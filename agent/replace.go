package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// makeWay sees to it that the device with its keys in dir can be enrolled with the engine of
// a code. Keys that are there are put aside when they are to be replaced; else those of
// another engine, and those that cannot be opened, are the error. Aside is where they went,
// or "", and restore puts them back.
func makeWay(dir string, code wire.Code, replace bool) (aside string, restore func() error, err error) {
	if !replace {
		return "", func() error { return nil }, mayEnrol(dir, code)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", func() error { return os.RemoveAll(dir) }, nil
	}
	running, err := keys.AgentInUse(dir)
	if err != nil {
		return "", nil, storable(err)
	}
	if running {
		return "", nil, fmt.Errorf("%w: stop it first, then enrol again", keys.ErrInUse)
	}
	aside = dir + ".replaced-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(dir, aside); err != nil {
		return "", nil, storable(fmt.Errorf("put the keys that are there aside: %w", err))
	}
	return aside, func() error {
		if err := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); err != nil {
			return fmt.Errorf("put the keys that were there back from %s: %w", aside, err)
		}
		return nil
	}, nil
}

// mayEnrol returns nil for a device that belongs to no engine yet, or to the one of a code. It
// is that one too when it is at the same address and has another identity by now: it was
// rotated, and the device was away for too long to be told.
func mayEnrol(dir string, code wire.Code) error {
	k, err := keys.OpenAgent(dir)
	switch {
	case errors.Is(err, keys.ErrNotEnrolled):
		return nil
	case err != nil:
		return storable(err)
	case k.Engine != code.Pin && k.Next != code.Pin && k.Address != code.Address:
		return fmt.Errorf("%w, the one at %s with the pin %s, and the code is of another one, with the pin %s. Nothing was changed. "+
			"To take the device away from the first, enrol again with --replace; it gets a new identity then",
			ErrOtherEngine, k.Address, k.Engine, code.Pin)
	}
	return nil
}

// storable says what to do about an error of the folder of the keys.
func storable(err error) error {
	switch {
	case diskFull(err):
		return fmt.Errorf("the disk is full: free some space on it and try again; nothing was changed: %w", err)
	case errors.Is(err, fs.ErrPermission) || readOnly(err):
		return fmt.Errorf("the folder of the agent's keys cannot be written: use an elevated prompt, or root, "+
			"or name another folder with --data; nothing was changed: %w", err)
	}
	return err
}
