package service

import (
	"errors"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Where Windows keeps the sources of the log for programs, and the messages of a program
// that is part of it, which say what they are given.
const (
	sources  = `SYSTEM\CurrentControlSet\Services\EventLog\Application\`
	messages = `%SystemRoot%\System32\EventCreate.exe`
)

func installSource(name string) (err error) {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, sources+name, registry.SET_VALUE)
	if err != nil {
		return refused(err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	return errors.Join(
		k.SetDWordValue("CustomSource", 1),
		k.SetExpandStringValue("EventMessageFile", messages),
		k.SetDWordValue("TypesSupported", eventlog.Info|eventlog.Warning|eventlog.Error),
	)
}

func removeSource(name string) error {
	err := registry.DeleteKey(registry.LOCAL_MACHINE, sources+name)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return nil
	}
	return refused(err)
}

func sourceInstalled(name string) (bool, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, sources+name, registry.QUERY_VALUE)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return false, nil
	}
	if err != nil {
		return false, refused(err)
	}
	defer func() { _ = k.Close() }()
	file, _, err := k.GetStringValue("EventMessageFile")
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return false, nil
	}
	return file == messages, err
}

func openLog(name string) (reporter, error) { return eventlog.Open(name) }
