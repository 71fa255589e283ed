package setup

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// folder is what the agent's folders are called, below those that Windows gives.
const folder = "Borealis"

func defaultPlace(data string) (Place, error) {
	programs, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		return Place{}, fmt.Errorf("find the folder for programs: %w", err)
	}
	if data == "" {
		root, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
		if err != nil {
			return Place{}, fmt.Errorf("find the folder for the data of programs: %w", err)
		}
		data = filepath.Join(root, folder)
	}
	if data, err = filepath.Abs(data); err != nil {
		return Place{}, fmt.Errorf("find the data root: %w", err)
	}
	return Place{Program: filepath.Join(programs, folder, "borealis-agent.exe"), Data: data}, nil
}
