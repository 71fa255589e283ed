//go:build !linux

package handlers

// descriptorLimit is not known here.
func descriptorLimit() int { return 0 }

func openDescriptors() (int, bool) { return 0, false }
