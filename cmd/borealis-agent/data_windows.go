package main

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// defaultData is the agent's data root. The folder is asked for by API: a service
// must not trust the environment for it.
func defaultData() string {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		dir = `C:\ProgramData`
	}
	return filepath.Join(dir, "Borealis")
}
