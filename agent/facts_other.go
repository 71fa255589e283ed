//go:build !linux && !windows

package agent

// osVersion is not known here.
func osVersion() string { return "" }

// machineID is not known here.
func machineID() string { return "" }
