//go:build !windows

package main

import (
	"strings"
	"testing"
)

func TestInstallIsForWindows(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"borealis-agent enrol --code STRING": {"install", "--code", "brl1.x"},
		"installing is for Windows":          {"uninstall", "--elevate"},
		"services are for Windows":           {"service", "run"},
	} {
		if out, errs := say(t, exitFailed, args...); out != "" || !strings.Contains(errs, want) {
			t.Errorf("%v says %q %q", args, out, errs)
		}
	}
}
