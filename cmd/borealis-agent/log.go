package main

import (
	"path/filepath"

	"borealis/agent/logfile"
)

// logFolder is where the logs of an agent with a data root are.
func logFolder(data string) string { return filepath.Join(data, "Agent", "Logs") }

// openLog opens Agent/Logs/reverse_tunnel.log of a data root for appending. The caller closes it.
func openLog(data string) (*logfile.File, error) {
	return logfile.Open(logfile.Config{Path: filepath.Join(logFolder(data), "reverse_tunnel.log")})
}
