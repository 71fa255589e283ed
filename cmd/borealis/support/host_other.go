//go:build !linux

package support

func kernelRelease() string { return "" }
