//go:build !windows

package main

import "borealis/agent/service"

// elevate cannot ask for rights here.
func elevate(...string) error { return service.ErrNotElevated }
