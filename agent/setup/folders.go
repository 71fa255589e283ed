package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archs are those that Windows has and the agent is built for.
var archs = []string{"amd64", "arm64"}

// folders makes the agent's folders, and keeps the data root from everybody but SYSTEM and
// administrators. That stays when the installation fails: what it keeps safe was there
// before. From here on there is a log.
func (i *installer) folders(context.Context) (string, func(context.Context) error, error) {
	made := new(folderList)
	undo := func(context.Context) error {
		i.journal.close() // It may be in one of them.
		defer i.journal.openIfThere()
		return made.remove()
	}
	err := made.makeGuarded(i.Data)
	if err == nil {
		all := []string{filepath.Dir(i.Program), filepath.Dir(i.journal.path)}
		for _, arch := range archs {
			all = append(all, filepath.Join(i.installers(), arch))
		}
		for _, dir := range all {
			err = errors.Join(err, made.makeAll(dir))
		}
	}
	if err == nil {
		err = errors.Join(guardTree(i.Data, i.agent()), writable(filepath.Dir(i.Program)), writable(i.agent()), i.journal.open())
	}
	if err != nil {
		return "", undo, explain(err)
	}
	if len(made.all) == 0 {
		return present, nil, nil
	}
	return "made " + strings.Join(made.all, ", "), undo, nil
}

// folderList are folders that were made, in that order.
type folderList struct{ all []string }

// makeGuarded makes a folder that is guarded from the first moment, unless it is there.
func (l *folderList) makeGuarded(dir string) error {
	if err := l.makeAll(filepath.Dir(dir)); err != nil {
		return err
	}
	err := mkdirGuarded(dir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the folder %s: %w", dir, err)
	}
	l.all = append(l.all, dir)
	return nil
}

// makeAll makes a folder and those above it.
func (l *folderList) makeAll(dir string) error {
	var missing []string
	for top := nearest(dir); dir != top; dir = filepath.Dir(dir) {
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // The guarded folder above it decides.
			return fmt.Errorf("make the folder: %w", err)
		}
		l.all = append(l.all, dir)
	}
	return nil
}

// remove removes what was made, with all that came into it since.
func (l *folderList) remove() error {
	var all []error
	for _, dir := range slices.Backward(l.all) {
		all = append(all, os.RemoveAll(dir))
	}
	return errors.Join(all...)
}

// writable tries whether files can be made in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".borealis-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
