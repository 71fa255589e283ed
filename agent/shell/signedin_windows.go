package shell

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	errNobody  = errors.New("nobody is signed in on this device, and its policy runs shells as the signed-in user only")
	errService = errors.New("this device's policy runs shells as the signed-in user only, which takes the agent's service: install the agent with borealis-agent install")
)

// signedIn returns a token of the user who is signed in on the device: at its console, or else in the
// first session that is in use, or else in one whose user is away. The caller closes it. Of an
// administrator it is the token without the elevated rights.
func signedIn() (windows.Token, error) {
	sessions, err := sessions()
	if err != nil {
		return 0, fmt.Errorf("look up who is signed in: %w", err)
	}
	return firstUser(inOrder(windows.WTSGetActiveConsoleSessionId(), sessions), windows.WTSQueryUserToken)
}

// firstUser returns a token of the user of the first session that has one.
func firstUser(ids []uint32, query func(id uint32, token *windows.Token) error) (token windows.Token, err error) {
	for _, id := range ids {
		err := query(id, &token)
		switch {
		case err == nil:
			return token, nil
		case errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD):
			return 0, errService
		case errors.Is(err, windows.ERROR_NO_TOKEN), errors.Is(err, windows.ERROR_FILE_NOT_FOUND): // nobody there, or no more
		default:
			return 0, fmt.Errorf("become the signed-in user: %w", err)
		}
	}
	return 0, errNobody
}

// sessions returns the device's sessions.
func sessions() ([]windows.WTS_SESSION_INFO, error) {
	var first *windows.WTS_SESSION_INFO
	var count uint32
	if err := windows.WTSEnumerateSessions(0, 0, 1, &first, &count); err != nil {
		return nil, err
	}
	defer windows.WTSFreeMemory(uintptr(unsafe.Pointer(first)))
	return slices.Clone(unsafe.Slice(first, count)), nil
}

// inOrder returns the ids of the sessions that people can be signed in to, the likeliest first. The
// console is the session in front of the device, or none.
func inOrder(console uint32, sessions []windows.WTS_SESSION_INFO) (ids []uint32) {
	const none, services = 0xffffffff, 0
	if console != none {
		ids = append(ids, console)
	}
	for _, state := range []uint32{windows.WTSActive, windows.WTSDisconnected} {
		for _, s := range sessions {
			if s.State == state && s.SessionID != console && s.SessionID != services {
				ids = append(ids, s.SessionID)
			}
		}
	}
	return ids
}
