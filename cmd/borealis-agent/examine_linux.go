package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"borealis/agent/checkup"
)

// installedData is the usual data root: nothing is installed here.
func installedData() string { return defaultData() }

// hostChecks looks at what is special on this system.
func hostChecks(data string) []checkup.Finding {
	rights := checkup.Well("rights", "root")
	if os.Geteuid() != 0 {
		rights = checkup.Finding{Name: "rights", OK: true, Detail: "not root: some answers may be missing", Hint: moreRights}
	}
	return []checkup.Finding{rights, folderCheck(data)}
}

// folderCheck looks whether others than its owner may write the data root.
func folderCheck(data string) checkup.Finding {
	const name = "folders"
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkup.Unwell(name, fmt.Errorf("%s is not there", data), "enrol the device: that makes it")
	case err != nil:
		return checkup.Unwell(name, err, "")
	case info.Mode().Perm()&0o022 != 0:
		return checkup.Unwell(name, fmt.Errorf("others may write %s (mode %04o)", data, info.Mode().Perm()), "look at who did, then chmod go-w "+data)
	}
	return checkup.Well(name, "%s is written by its owner alone", data)
}

// freeBytes is how much room the disk of a folder has.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // A block has a size.
}
