//go:build !linux

package wg

func portHolder(int) string { return anotherProgram }
