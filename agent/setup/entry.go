package setup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// entry is what the list of installed programs knows of the agent; zero when nothing.
type entry struct {
	DisplayName, DisplayVersion, Publisher, InstallLocation, DisplayIcon string
	UninstallString, QuietUninstallString                                string
	EstimatedSize                                                        uint32 // KiB.
}

// list puts the agent into the list of installed programs.
func (i *installer) list(context.Context) (string, func(context.Context) error, error) {
	info, err := os.Stat(i.Program)
	if err != nil {
		return "", nil, err
	}
	uninstall := quoted(append([]string{i.Program, "uninstall"}, i.options()...))
	want := entry{
		DisplayName: i.names.display, DisplayVersion: i.Version, Publisher: "Borealis",
		InstallLocation: filepath.Dir(i.Program), DisplayIcon: i.Program,
		UninstallString: uninstall + " --elevate", QuietUninstallString: uninstall,
		EstimatedSize: uint32(min(info.Size()>>10, 1<<30)), //nolint:gosec // It is bounded.
	}
	before, err := readEntry(i.names.display)
	if err != nil {
		return "", nil, fmt.Errorf("read the list of programs: %w", err)
	}
	if i.Packaged {
		want = entry{}
	}
	if before == want {
		return present, nil, nil
	}
	undo := func(context.Context) error { return setEntry(i.names.display, before) }
	if err := setEntry(i.names.display, want); err != nil {
		return "", undo, fmt.Errorf("write the list of programs: %w", err)
	}
	if i.Packaged {
		return "the entry is removed: Windows Installer has its own", undo, nil
	}
	return fmt.Sprintf("version %s is in the list of installed programs", i.Version), undo, nil
}

// setEntry writes an entry, or removes it when it is zero.
func setEntry(name string, e entry) error {
	if e == (entry{}) {
		return removeEntry(name)
	}
	return writeEntry(name, e)
}

// quoted joins a command line. Paths of Windows have no quotes, and what follows them has
// no backslash at its end.
func quoted(args []string) string {
	for i, a := range args {
		if i == 0 || strings.ContainsAny(a, " \t") {
			args[i] = `"` + a + `"`
		}
	}
	return strings.Join(args, " ")
}
