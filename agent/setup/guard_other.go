//go:build !windows

package setup

import "os"

func mkdirGuarded(dir string) error  { return os.Mkdir(dir, 0o700) }
func guardTree(root, _ string) error { return os.Chmod(root, 0o700) } //nolint:gosec // A folder needs to be entered.
