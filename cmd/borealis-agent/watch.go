package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"borealis/agent/service"
	"borealis/agent/setup"
	"borealis/agent/update"
)

// maxUpdateLog is when the log of the watchers begins anew, in bytes; each update writes a
// few lines.
const maxUpdateLog = 1 << 20

// watchUpdate is started by the agent itself when it has put a new version in its place,
// and by a new version that finds nobody watching. It is not for people.
func watchUpdate(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	f := flags("watch-update", stderr)
	data := f.String("data", defaultData(), "`DIR` of the agent's data root")
	exe := f.String("exe", "", "`PATH` of the program that the service manager starts")
	patience := f.Duration("patience", update.Patience, "how long the new version has to check in")
	if err := parse(f, args); err != nil {
		return err
	}
	if !filepath.IsAbs(*exe) || *patience <= 0 {
		return fmt.Errorf("%w: --exe needs a full path, and --patience some time", errUsage)
	}
	file, err := openUpdateLog(*data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	log := slog.New(slog.NewTextHandler(file, nil))
	err = update.Watch(ctx, update.WatchConfig{
		Place: update.Place{Exe: *exe, Data: *data}, Service: agentService(),
		Patience: *patience, Ready: stdout, Logger: log,
	})
	if err != nil {
		log.ErrorContext(ctx, "update_failed", "err", err)
	}
	return err
}

// agentService is the service that the agent is.
func agentService() update.Service {
	return update.Service{
		Stop:  func(ctx context.Context) error { return service.Stop(ctx, setup.ServiceName) },
		Start: func(ctx context.Context) error { return service.Start(ctx, setup.ServiceName) },
		Running: func() (bool, error) {
			s, err := service.Query(setup.ServiceName)
			if err == nil && !s.Installed {
				err = update.ErrGone
			}
			return s.PID != 0, err
		},
	}
}

// openUpdateLog opens Agent/Logs/update.log of a data root for appending.
func openUpdateLog(data string) (*os.File, error) {
	path := filepath.Join(data, "Agent", "Logs", "update.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	how := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	if info, err := os.Stat(path); err == nil && info.Size() > maxUpdateLog {
		how |= os.O_TRUNC
	}
	file, err := os.OpenFile(path, how, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return file, nil
}
