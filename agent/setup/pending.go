package setup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// update forgets an update that waits for the new version to check in: what is installed now
// comes instead, and whoever watches the update puts nothing back over it.
func (i *installer) update(context.Context) (string, func(context.Context) error, error) {
	if !i.differs {
		return idle, nil, nil
	}
	state := filepath.Join(i.agent(), "update.json")
	aside := state + ".superseded-" + i.stamp
	err := os.Rename(state, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return idle, nil, nil
	}
	if err != nil {
		return "", nil, explain(err)
	}
	i.superseded = aside
	return "the update that was under way is given up", func(context.Context) error { return os.Rename(aside, state) }, nil
}
