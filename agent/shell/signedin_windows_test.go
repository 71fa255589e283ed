package shell

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"
)

func TestSessionsInOrder(t *testing.T) {
	t.Parallel()
	const none = 0xffffffff
	session := func(id, state uint32) windows.WTS_SESSION_INFO {
		return windows.WTS_SESSION_INFO{SessionID: id, State: state}
	}
	services := session(0, windows.WTSDisconnected)
	for name, test := range map[string]struct {
		console  uint32
		sessions []windows.WTS_SESSION_INFO
		want     []uint32
	}{
		"at the console":         {1, []windows.WTS_SESSION_INFO{services, session(1, windows.WTSActive)}, []uint32{1}},
		"console before the net": {4, []windows.WTS_SESSION_INFO{services, session(2, windows.WTSActive), session(4, windows.WTSActive)}, []uint32{4, 2}},
		"away comes last":        {none, []windows.WTS_SESSION_INFO{services, session(2, windows.WTSDisconnected), session(3, windows.WTSActive)}, []uint32{3, 2}},
		"nobody":                 {none, []windows.WTS_SESSION_INFO{services, session(65536, windows.WTSListen), session(7, windows.WTSConnected)}, nil},
	} {
		if diff := cmp.Diff(test.want, inOrder(test.console, test.sessions)); diff != "" {
			t.Errorf("%s (-want +got) %s", name, diff)
		}
	}
}

func TestFirstUser(t *testing.T) {
	t.Parallel()
	odd := errors.New("odd")
	answers := map[uint32]error{1: windows.ERROR_NO_TOKEN, 2: windows.ERROR_FILE_NOT_FOUND, 3: nil, 4: windows.ERROR_PRIVILEGE_NOT_HELD, 5: odd}
	query := func(id uint32, token *windows.Token) error {
		*token = windows.Token(100 + id)
		return answers[id]
	}
	for name, test := range map[string]struct {
		ids   []uint32
		token windows.Token
		err   error
	}{
		"none":          {nil, 0, errNobody},
		"all empty":     {[]uint32{1, 2}, 0, errNobody},
		"the first":     {[]uint32{1, 3, 4}, 103, nil},
		"no service":    {[]uint32{4, 3}, 0, errService},
		"anything else": {[]uint32{5, 3}, 0, odd},
	} {
		token, err := firstUser(test.ids, query)
		if token != test.token || !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, %v", name, token, err)
		}
	}
}
