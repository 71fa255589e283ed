package engine

import (
	"io"
	"log/slog"

	"borealis/agent/logfile"
)

// OpenLog opens reverse_tunnel.log for lines of "event key=value", which also go to
// the other handlers. The caller closes the file.
func OpenLog(path string, level slog.Level, also slog.Handler) (*slog.Logger, io.Closer, error) {
	f, err := logfile.Open(logfile.Config{Path: path})
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(f, &slog.HandlerOptions{Level: level}), also)), f, nil
}
