package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// data removes what the agent wrote, or says that it stays. An identity that stays or goes
// is still known to the engine.
func (u *uninstaller) data() error {
	if _, err := os.Stat(u.keys()); err == nil {
		u.left("data", "The device in the engine's console: an administrator removes it there.")
	}
	installers, err := u.emptyFolders()
	if err != nil {
		return explain(fmt.Errorf("look for installers: %w", err))
	}
	if _, err := os.Stat(u.agent()); err == nil {
		if !u.Purge {
			u.left("data", u.agent()+": the device's identity, its settings and its logs. \"uninstall --purge\" removes them.")
		} else if err := u.purge(); err != nil {
			return err
		}
	}
	if installers {
		u.left("data", u.installers()+": installers are never removed. Remove the folder if nobody needs them. "+
			"Windows keeps the driver that was installed from them, if any: other programs may use it.")
	}
	if os.Remove(u.Data) == nil { // Only an empty folder is removed in this way.
		u.removed("data", u.Data)
	}
	return nil
}

// purge removes the identity, the settings and the logs, install.log among them.
func (u *uninstaller) purge() error {
	u.journal.close()
	if err := os.RemoveAll(u.agent()); err != nil {
		u.journal.openIfThere()
		return explain(fmt.Errorf("remove the agent's data: %w", err))
	}
	u.removed("data", u.agent()+": the device's identity, its settings and its logs")
	return nil
}

// emptyFolders removes the folders for installers that are empty, and reports whether there
// are installers.
func (u *uninstaller) emptyFolders() (installers bool, err error) {
	top := filepath.Dir(u.installers())
	var dirs []string
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, path)
		default:
			installers = true
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || installers {
		return installers, err
	}
	for i := range dirs { // The deepest come last.
		if err := os.Remove(dirs[len(dirs)-1-i]); err != nil {
			return false, err
		}
	}
	return false, nil
}
