package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"borealis/agent/service"
)

// Uninstall takes the agent off this device: the service, its place in the event log and in
// the list of programs, and the program; with Purge also the identity, the settings and the
// logs. Installers below Dependencies are never removed. What is not there is no error, so
// it can be repeated. When the service cannot be removed nothing else is touched; what else
// fails is in the error, and the rest is removed all the same. Elsewhere than on Windows
// the error wraps [errors.ErrUnsupported].
func Uninstall(ctx context.Context, c UninstallConfig) (Removal, error) {
	c.names = c.names.orOwn()
	u := &uninstaller{UninstallConfig: c, stamp: time.Now().UTC().Format("20060102T150405.000000000Z")}
	u.journal = &journal{what: "uninstall", also: c.Log, path: c.log()}
	u.journal.openIfThere()
	defer u.journal.close()
	if err := service.Elevated(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			err = fmt.Errorf("uninstalling is for Windows: %w", errors.ErrUnsupported)
		}
		return Removal{}, fmt.Errorf("uninstall: %w", err)
	}
	if err := u.service(ctx); err != nil {
		u.journal.say("service", "failed: "+err.Error())
		return Removal{}, fmt.Errorf("uninstall: %w", explain(err))
	}
	err := errors.Join(u.traces(), u.data(), u.programs())
	if err != nil {
		u.journal.say("uninstall", "failed: "+err.Error())
		err = fmt.Errorf("uninstall: %w", err)
	}
	return u.done, err
}

// uninstaller is one uninstallation.
type uninstaller struct {
	UninstallConfig

	journal *journal
	stamp   string // Makes names unique.
	done    Removal
}

func (u *uninstaller) removed(name, what string) {
	u.done.Removed = append(u.done.Removed, what)
	u.journal.say(name, "removed "+what)
}

func (u *uninstaller) left(name, what string) {
	u.done.Left = append(u.done.Left, what)
	u.journal.say(name, "left: "+what)
}

// service removes the service, and with its process what is not kept anywhere.
func (u *uninstaller) service(ctx context.Context) error {
	is, err := service.Query(u.names.service)
	if err != nil || !is.Installed {
		return err
	}
	if !is.Starts(u.Program) {
		u.left("service", fmt.Sprintf("The service %s: it belongs to another program, %s.", u.names.service, is.Command))
		return nil
	}
	if err := service.Remove(ctx, u.names.service); err != nil {
		return err
	}
	u.removed("service", "the service "+u.names.service+", and with its process the network adapter and the filter of the firewall")
	return nil
}

// traces removes the agent from the event log and from the list of programs.
func (u *uninstaller) traces() error {
	there, err := service.SourceInstalled(u.names.display)
	if err == nil && there {
		if err = service.RemoveSource(u.names.display); err == nil {
			u.removed("event source", "the source of the event log; its events stay there")
		}
	}
	e, readErr := readEntry(u.names.display)
	if readErr == nil && e != (entry{}) {
		if readErr = removeEntry(u.names.display); readErr == nil {
			u.removed("list of programs", "the entry in the list of installed programs")
		}
	}
	return errors.Join(err, readErr)
}

// programs removes the program, what updates and installations left beside it, and the
// folder. A program that runs, such as this one, is renamed, and removed by Windows when it
// starts the next time.
func (u *uninstaller) programs() error {
	dir := filepath.Dir(u.Program)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(fmt.Errorf("look for the program: %w", err))
	}
	var all []error
	later := false
	name := filepath.Base(u.Program)
	for _, e := range entries {
		if e.Name() != name && !strings.HasPrefix(e.Name(), name+".") {
			continue
		}
		now, err := u.program(filepath.Join(dir, e.Name()))
		all = append(all, err)
		later = later || !now
	}
	if os.Remove(dir) == nil {
		u.removed("program", "the folder "+dir)
	} else if later {
		all = append(all, removeLater(dir)) // It will be empty then.
	} else if rest, err := os.ReadDir(dir); err == nil && len(rest) > 0 && !u.Packaged {
		u.left("program", fmt.Sprintf("%s: it holds files of others.", dir))
	}
	return errors.Join(all...)
}

// program removes one program, now or when Windows starts the next time.
func (u *uninstaller) program(path string) (now bool, err error) {
	if err := os.Remove(path); err == nil {
		u.removed("program", path)
		return true, nil
	}
	away := path
	if !strings.Contains(filepath.Base(path), ".removed-") {
		away = path + ".removed-" + u.stamp
		if err := os.Rename(path, away); err != nil {
			return false, explain(fmt.Errorf("remove the program: %w", err))
		}
	}
	if err := removeLater(away); err != nil {
		return false, fmt.Errorf("have %s removed when Windows starts: %w", away, err)
	}
	u.left("program", away+": it runs. Windows removes it, and its folder, when it starts the next time.")
	return false, nil
}
