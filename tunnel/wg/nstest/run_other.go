//go:build !linux

package nstest

import "testing"

// Run skips the test: namespaces are a thing of Linux.
func Run(t *testing.T) bool {
	t.Helper()
	Skip(t, "namespaces exist on Linux only")
	return false
}
