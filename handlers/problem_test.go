package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/terminal"

	"github.com/google/go-cmp/cmp"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		err    error
		status int
		code   code
	}{
		{tunnel.ErrUnknownDevice, 404, codeUnknownDevice},
		{tunnel.ErrOffline, 409, codeOffline},
		{&tunnel.OfflineError{LastSeen: seen}, 409, codeOffline},
		{tunnel.ErrPending, 409, codePending},
		{tunnel.ErrRevoked, 409, codeRevoked},
		{tunnel.ErrActive, 409, codeActive},
		{&tunnel.ActiveError{TunnelID: "t1"}, 409, codeActive},
		{tunnel.ErrUnavailable, 503, codeUnavailable},
		{tunnel.ErrPoolExhausted, 409, codePool},
		{tunnel.ErrNotConnected, 409, codeDown},
		{tunnel.ErrNotUp, 409, codeDown},
		{tunnel.ErrTooMany, 429, codeTooMany},
		{terminal.ErrFull, 429, codeTooMany},
		{tunnel.ErrTooOld, 409, codeNoUpdate},
		{tunnel.ErrUpdating, 409, codeUpdating},
		{acl.ErrRefused, 409, codePortClosed},
		{&acl.InvalidError{Field: "port", Text: "there is no port 0"}, 422, codeInvalid},
		{&tunnel.RevisionError{}, 412, codePortsChanged},
		{store.ErrNotFound, 404, codeNotFound},
		{store.ErrCode, 403, codeEnrolUnknown},
		{store.ErrCodeUsed, 409, codeEnrolUsed},
		{store.ErrCodeExpired, 410, codeEnrolExpired},
		{store.ErrTooManyPending, 409, codeEnrolQueue},
		{store.ErrClosed, 503, codeStopping},
		{store.ErrFull, 503, codeDiskFull},
		{store.ErrBusy, 503, codeDatabaseBusy},
		{store.ErrFailed, 503, codeDatabaseLost},
		{fmt.Errorf("%w: %w", tunnel.ErrUnavailable, store.ErrFull), 503, codeDiskFull},
		{store.ErrDamaged, 500, codeInternal},
		{errors.New("password of the database"), 500, codeInternal},
		{refuse(codeMalformed, "x"), 400, codeMalformed},
	} {
		p := problemOf(fmt.Errorf("somewhere: %w", c.err))
		if p.Status != c.status || p.Code != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.err, p.Status, p.Code, c.status, c.code)
		}
		if !strings.HasSuffix(p.Detail, ".") && c.code != codeMalformed || p.Hint == "" || p.Title == "" {
			t.Errorf("%v: people are told %+v", c.err, p)
		}
		if strings.Contains(p.Detail, "password") || strings.Contains(p.Detail, "somewhere") && c.code != codeUnavailable && c.code != codeTooMany {
			t.Errorf("%v: strangers are told %q", c.err, p.Detail)
		}
	}
}

// TestProblemShape compares the whole document with what clients rely on.
func TestProblemShape(t *testing.T) {
	t.Parallel()
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	limited := refuse(codeTooMany, "Slow down.")
	limited.retry = 1500 * time.Millisecond
	for _, c := range []struct {
		err     error
		headers map[string]string
		want    map[string]any
	}{
		{&tunnel.OfflineError{LastSeen: seen}, nil, map[string]any{
			"type": "urn:borealis:problem:agent_offline", "title": "Device is offline", "status": 409.0, "code": "agent_offline",
			"detail":    "The device's agent is not connected. It was last seen at 2026-01-02 03:04:05 UTC.",
			"hint":      "Check that the device is on and that its agent runs and can reach this engine.",
			"last_seen": "2026-01-02T03:04:05Z",
		}},
		{&tunnel.ActiveError{TunnelID: "t1"}, nil, map[string]any{
			"type": "urn:borealis:problem:tunnel_active", "title": "Tunnel is active", "status": 409.0, "code": "tunnel_active",
			"detail": "The device has a live tunnel already.", "hint": `Join it by leaving out "new", or disconnect it first.`,
			"tunnel_id": "t1",
		}},
		{limited, map[string]string{"Retry-After": "2"}, map[string]any{
			"type": "urn:borealis:problem:too_many", "title": "Too many attempts", "status": 429.0, "code": "too_many",
			"detail": "Slow down.", "hint": "Wait for the time in the Retry-After header.", "retry_after": 2.0,
		}},
		{invalid("uses", "Bad."), nil, map[string]any{
			"type": "urn:borealis:problem:invalid", "title": "Invalid value", "status": 422.0, "code": "invalid",
			"detail": "Bad.", "hint": "Change the value and try again.", "field": "uses",
		}},
	} {
		w := httptest.NewRecorder()
		writeProblem(w, problemOf(c.err))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.err, diff)
		}
		if kind := w.Header().Get("Content-Type"); kind != "application/problem+json" {
			t.Errorf("%v: %s", c.err, kind)
		}
		for name, want := range c.headers {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%v: %s is %q, want %q", c.err, name, got, want)
			}
		}
	}
}

// TestEveryCodeIsExplained: no code falls through the table to "internal".
func TestEveryCodeIsExplained(t *testing.T) {
	t.Parallel()
	_, fallback, _ := codeInternal.kind()
	titles := make(map[string]code)
	for _, c := range []code{
		codeUnauthenticated, codeSessionExpired, codeSignInFailed, codeForbidden, codeCrossOrigin, codeWrongHost, codeNotFound,
		codeUnknownDevice, codeMethod, codeMalformed, codeUnknownField, codeInvalid, codeTooLarge, codeMediaType, codeOffline,
		codePending, codeRevoked, codeActive, codeDown, codeUnavailable, codePool, codePortClosed, codeTooMany, codeStopping,
		codeBadTicket, codePortsChanged, codePrecondition, codeConfirm, codeNothingToUndo, codeEnrolUnknown, codeEnrolUsed, codeEnrolExpired, codeEnrolQueue,
		codeNoUpdate, codeUpdating, codeDiskFull, codeDatabaseBusy, codeDatabaseLost,
	} {
		status, title, hint := c.kind()
		if status < 400 || title == fallback || hint == "" {
			t.Errorf("%s: %d %q %q", c, status, title, hint)
		}
		if other, twice := titles[title]; twice {
			t.Errorf("%s and %s are both %q", c, other, title)
		}
		titles[title] = c
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"PC-1":                         "PC-1",
		"  a\tb\r\nc  ":                "a b  c",
		"a\x1b[31mb\x00":               "a[31mb",
		"\u202eevil\u2066":             "evil",
		"Büro – Łódź 東京":               "Büro – Łódź 東京",
		"\xff\xfebad":                  "bad",
		strings.Repeat("é", 40):        strings.Repeat("é", 20),
		strings.Repeat("a", 19) + " b": strings.Repeat("a", 19),
	} {
		if got := clean(text, 20); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
