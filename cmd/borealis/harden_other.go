//go:build !linux

package main

// harden does nothing here: the engine runs on Linux.
func harden() error { return nil }
