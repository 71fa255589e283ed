package setup

import (
	"errors"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// programs is where Windows keeps the list of installed programs, below HKEY_LOCAL_MACHINE.
const programs = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\`

// strings are the texts of an entry, by the names that they have in the registry.
func (e *entry) strings() map[string]*string {
	return map[string]*string{
		"DisplayName": &e.DisplayName, "DisplayVersion": &e.DisplayVersion, "Publisher": &e.Publisher,
		"InstallLocation": &e.InstallLocation, "DisplayIcon": &e.DisplayIcon,
		"UninstallString": &e.UninstallString, "QuietUninstallString": &e.QuietUninstallString,
	}
}

// readEntry returns the entry of a name, zero when there is none. What an entry lacks is
// zero too.
func readEntry(name string) (entry, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, programs+name, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	defer func() { _ = k.Close() }()
	var e entry
	for name, to := range e.strings() {
		if v, _, err := k.GetStringValue(name); err == nil {
			*to = v
		}
	}
	if v, _, err := k.GetIntegerValue("EstimatedSize"); err == nil {
		e.EstimatedSize = uint32(v) //nolint:gosec // It is a DWORD.
	}
	return e, nil
}

func writeEntry(name string, e entry) (err error) {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, programs+name, registry.SET_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	for name, v := range e.strings() {
		err = errors.Join(err, k.SetStringValue(name, *v))
	}
	return errors.Join(err, k.SetDWordValue("EstimatedSize", e.EstimatedSize),
		k.SetDWordValue("NoModify", 1), k.SetDWordValue("NoRepair", 1))
}

// removeEntry removes the entry. One that is not there is no error.
func removeEntry(name string) error {
	// The agent is no 32-bit program, so the key of this view is the only one.
	err := registry.DeleteKey(registry.LOCAL_MACHINE, programs+name)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return nil
	}
	return err
}
