package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// enrol makes the device known to the engine, unless it is.
func (i *installer) enrol(ctx context.Context) (string, func(context.Context) error, error) {
	if !i.unknown {
		return present, nil, nil
	}
	before, err := snapshot(i.keys())
	if err != nil {
		return "", nil, explain(fmt.Errorf("read the device's identity: %w", err))
	}
	undo := func(context.Context) error { return before.restore(i.keys()) }
	kept := ""
	if i.Replace && before != nil {
		aside := i.keys() + ".replaced-" + i.stamp
		if err := os.Rename(i.keys(), aside); err != nil {
			return "", nil, explain(fmt.Errorf("put the device's identity aside: %w", err))
		}
		undo = func(context.Context) error {
			return errors.Join(os.RemoveAll(i.keys()), os.Rename(aside, i.keys()))
		}
		kept = "; the identity that it had before is kept in " + aside
	}
	d, err := i.Enrol(ctx)
	if err != nil {
		return "", undo, explain(err)
	}
	i.report.Device = &d
	return fmt.Sprintf("device %s is %s at %s%s", d.ID, d.State, i.Address, kept), undo, nil
}

// identity is the content of the files in the folder of the keys, by name; nil when there
// is no such folder.
type identity map[string][]byte

// maxIdentity bounds one file of an identity, in bytes.
const maxIdentity = 1 << 20

func snapshot(dir string) (identity, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := identity{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || info.Size() > maxIdentity {
			return nil, fmt.Errorf("%s does not belong there: remove it and try again", filepath.Join(dir, e.Name()))
		}
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// restore makes the folder what it was. Files that did not change are not touched.
func (id identity) restore(dir string) error {
	if id == nil {
		return os.RemoveAll(dir)
	}
	now, err := snapshot(dir)
	if err != nil {
		return err
	}
	var all []error
	for name := range now {
		if _, was := id[name]; !was {
			all = append(all, os.Remove(filepath.Join(dir, name)))
		}
	}
	for name, content := range id {
		if is, there := now[name]; there && bytes.Equal(is, content) {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".restored", content, 0o600); err != nil {
			all = append(all, err)
			continue
		}
		all = append(all, os.Rename(path+".restored", path))
	}
	return errors.Join(all...)
}
