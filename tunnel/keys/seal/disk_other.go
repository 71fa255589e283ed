//go:build !unix

package seal

import "io/fs"

// private does nothing here: the directory's access list guards its files.
func private(string, fs.FileInfo) error { return nil }

// syncDir does nothing here: directories cannot be synced.
func syncDir(string) error { return nil }
