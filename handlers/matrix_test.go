package handlers

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/keys"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// TestMatrix asks every route as everybody there is. A route without a row fails, and so
// does a row without a route.
func TestMatrix(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := newMatrix(r)
	rows := make(map[string]string)
	for line := range strings.Lines(matrixRows) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		cells, name, _ := strings.Cut(line, " ")
		if name = strings.TrimSpace(name); rows[name] != "" || len(cells) != len(m.columns) {
			t.Errorf("the row of %s is there twice, or not %d long", name, len(m.columns))
		}
		rows[name] = cells
	}
	walked := make(map[string]bool)
	err := chi.Walk(r.mux, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + pattern
		walked[name] = true
		if _, known := r.needs[name]; !known {
			t.Errorf("%s is in the router but not in the table", name)
		}
		want := rows[name]
		if want == "" {
			t.Errorf("%s has no row:\n%s %s", name, m.row(method, pattern), name)
		} else if got := m.row(method, pattern); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range rows {
		if !walked[name] {
			t.Errorf("%s has a row, but there is no such route", name)
		}
	}
	for name := range r.needs {
		if !walked[name] {
			t.Errorf("%s is in the table but not in the router", name)
		}
	}
}

// A matrix is everybody who can ask.
type matrix struct {
	rig     *rig
	columns []column
}

// A column is somebody who asks. Each question is asked with a session of its own.
type column struct {
	operator *store.Operator // nil: nobody
	life     time.Duration   // of the session
	client   *client         // instead, one that is the same every time
}

func newMatrix(r *rig) *matrix {
	r.t.Helper()
	person := func(name, role string, sites ...string) column {
		o := r.operatorWith(name, role, sites...)
		return column{operator: &o, life: time.Hour}
	}
	locked, expired := person("locked", access.Operator, "Oslo"), person("expired", access.Admin)
	if err := r.store.AddLock(r.t.Context(), store.Lock{Kind: store.LockOperator, Target: locked.operator.ID}, prepared); err != nil {
		r.t.Fatal(err)
	}
	expired.life = -time.Minute
	_, id := r.device("agent", store.Active, "Oslo")
	return &matrix{rig: r, columns: []column{
		{client: r.stranger()},                            // 1 a stranger
		person("viewer", access.Viewer, "Oslo"),           // 2
		person("operator", access.Operator, "Oslo"),       // 3
		person("outsider", access.Operator, "Paris"),      // 4 an operator whose sites do not have the device
		person("auditor", access.Auditor),                 // 5
		person("admin", access.Admin),                     // 6
		locked,                                            // 7 an operator with a lock
		expired,                                           // 8 an administrator whose session is over
		{client: r.personality(wire.ServerName, id)},      // 9 an agent's connection
		{client: r.personality(wire.EnrolServerName, id)}, // 10 that of a device which enrols
	}}
}

// personality is a client that asks for one of the agents' sides of the engine.
func (r *rig) personality(name string, id *keys.Identity) *client {
	c := r.stranger()
	transport := c.http.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{id.TLS()}}
	return c
}

// row asks a route as everybody. A cell is
//
//   - the handler was reached, and there was something for it to do
//     ~  the same, but what the request names does not exist
//     1  401: not signed in, or not any more
//     3  403: the role, or a lock, does not allow it
//     4  404: it does not exist for those who ask
//     L  a page, and they are sent to the sign-in page
func (m *matrix) row(method, pattern string) string {
	m.rig.t.Helper()
	path, body := m.request(method, pattern)
	cells := ""
	for _, c := range m.columns {
		who := c.client
		if who == nil {
			who = &client{rig: m.rig, http: m.columns[0].client.http}
			who.cookie = m.rig.session(*c.operator, store.Session{ExpiresAt: time.Now().Add(c.life)})
		}
		cells += string(who.ask(method, path, body, pattern))
	}
	return cells
}

// request makes a request for a route whose device is in Oslo and whose operator, code
// and so on exist, as far as that is easy.
func (m *matrix) request(method, pattern string) (path, body string) {
	m.rig.t.Helper()
	below := strings.TrimPrefix(pattern, "/api")
	id := uuid.NewString()
	switch {
	case strings.HasPrefix(below, "/devices"), strings.HasPrefix(below, "/tunnel/"):
		d, _ := m.rig.device("pc", store.Active, "Oslo")
		id = d.ID
	case strings.HasPrefix(below, "/operators"):
		id = m.rig.operatorWith("subject-"+id, access.Viewer).ID
	case strings.Contains(below, "/codes"):
		c, err := m.rig.store.AddCode(m.rig.t.Context(), HashSecret(id), store.Code{ExpiresAt: time.Now().Add(time.Hour)}, prepared)
		if err != nil {
			m.rig.t.Fatal(err)
		}
		id = c.ID
	}
	path = strings.NewReplacer("{id}", id, "{tab}", "summary", "{act}", "set", "{name}", windowsAgent, "/_s/*", m.rig.style()).Replace(pattern)
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + uuid.NewString() + after
	}
	switch {
	case method == http.MethodPost && pattern == "/api/tunnel/connect":
		body = fmt.Sprintf(`{"device_id":%q}`, id)
	case strings.HasPrefix(pattern, "/api/tunnel/"):
		path += "?device_id=" + id
	}
	return path, body
}

// style is the path of the pages' style sheet.
func (r *rig) style() string {
	r.t.Helper()
	_, rest, _ := strings.Cut(r.stranger().do(http.MethodGet, "/login", "").body, `rel="stylesheet" href="`)
	path, _, found := strings.Cut(rest, `"`)
	if !found {
		r.t.Fatal("the sign-in page has no style sheet")
	}
	return path
}

// ask asks once, and says what kind of answer came.
func (c *client) ask(method, path, body, pattern string) rune {
	c.rig.t.Helper()
	headers := []string{"Origin", "https://" + c.rig.address}
	reads := method == http.MethodGet || method == http.MethodHead
	page := reads && !strings.HasPrefix(path, "/api/") && pattern != "/events" && !strings.HasSuffix(path, "/ws")
	if page {
		headers = append(headers, "Accept", "text/html")
	}
	response, err := c.http.Do(c.request(method, path, body, headers...))
	if err != nil {
		c.rig.t.Fatal(err)
	}
	defer response.Body.Close()
	var p problem
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") && method != http.MethodHead {
		text, err := io.ReadAll(response.Body)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err != nil {
			c.rig.t.Fatal(err)
		}
	}
	switch status := response.StatusCode; {
	case status >= 500:
		c.rig.t.Errorf("%s %s: %d %+v", method, path, status, p)
	case status == http.StatusSeeOther && strings.HasPrefix(response.Header.Get("Location"), "/login?next="):
		return 'L'
	case status == http.StatusUnauthorized && (p.Code == "" && !page || p.Code == codeUnauthenticated || p.Code == codeSessionExpired):
		return '1'
	case status == http.StatusForbidden && (p.Code == "" || p.Code == codeForbidden || p.Code == codeOperatorLocked):
		return '3'
	case status == http.StatusNotFound && (p.Code == "" || p.Code == codeUnknownDevice || p.Code == codeNotFound) && c.cookie == "":
		return '4'
	case status == http.StatusNotFound && (p.Code == "" || p.Code == codeUnknownDevice):
		return '4'
	case status == http.StatusNotFound:
		return '~'
	}
	return '+'
}

// matrixRows are what everybody may do. The columns are: a stranger; a viewer, an operator
// in scope and one out of scope; an auditor and an administrator; somebody locked and
// somebody whose session is over; an agent's connection and that of a device that enrols.
const matrixRows = `
L+++++3L44 GET /
L+++++3L44 HEAD /
++++++++44 GET /_s/*
++++++++44 HEAD /_s/*
L+++++3L44 GET /account
L+++++3L44 HEAD /account
1+++++3144 POST /account/passkeys
1+++++3144 POST /account/passkeys/options
1+++++3144 POST /account/passkeys/{id}/remove
1+++++3144 POST /account/password
1+++++3144 POST /account/recovery
1+++++3144 POST /account/sessions/end-others
1+++++3144 POST /account/sessions/{id}/end
1+++++3144 POST /account/tokens/{id}/revoke
1+++++3144 POST /account/totp/begin
1+++++3144 POST /account/totp/cancel
1+++++3144 POST /account/totp/confirm
1+++++3144 POST /account/totp/remove
L+++++3L44 GET /activity
L+++++3L44 HEAD /activity
L333++3L44 GET /audit
L333++3L44 HEAD /audit
L333++3L44 GET /audit/export
1333++3144 POST /audit/verify
L+++++3L44 GET /devices
L+++++3L44 HEAD /devices
L+++++3L44 GET /devices/{id}
L+++++3L44 HEAD /devices/{id}
13333+3144 POST /devices/{id}/approve
13333+3144 POST /devices/{id}/deny
13+43+3144 POST /devices/{id}/doctor
13333+3144 POST /devices/{id}/lock
13+43+3144 POST /devices/{id}/ports/check
13+43+3144 POST /devices/{id}/ports/{act}
13333+3144 POST /devices/{id}/quarantine
13333+3144 POST /devices/{id}/revoke
13+43+3144 POST /devices/{id}/terminal/ticket
13+43+3144 GET /devices/{id}/terminal/ws
13+43+3144 POST /devices/{id}/tunnel/connect
13+43+3144 POST /devices/{id}/tunnel/disconnect
13+43+3144 POST /devices/{id}/tunnel/keep-open
13333+3144 POST /devices/{id}/unlock
13333+3144 POST /devices/{id}/update
L++4++3L44 GET /devices/{id}/{tab}
L++4++3L44 HEAD /devices/{id}/{tab}
L+++++3L44 GET /enrolment
L+++++3L44 HEAD /enrolment
13333+3144 POST /enrolment/codes
13333+3144 POST /enrolment/codes/{id}/remove
++++++++44 GET /downloads/
++++++++44 HEAD /downloads/
++++++++44 GET /downloads/{name}
++++++++44 HEAD /downloads/{name}
1+++++3144 GET /events
++++++++44 GET /favicon.ico
++++++++44 HEAD /favicon.ico
++++++++44 GET /healthz
++++++++44 HEAD /healthz
++++++++44 GET /readyz
++++++++44 HEAD /readyz
++++++++44 GET /login
++++++++44 HEAD /login
++++++++44 POST /login
4444444444 GET /login/oidc
++++++++44 GET /login/oidc/callback
++++++++44 POST /login/passkey
++++++++44 POST /login/passkey/options
++++++++44 GET /login/second
++++++++44 HEAD /login/second
++++++++44 POST /login/second
++++++++44 POST /login/second/passkey
++++++++44 POST /login/second/passkey/options
1+++++3144 POST /logout
L3333+3L44 GET /operators
L3333+3L44 HEAD /operators
13333+3144 POST /operators
L3333+3L44 GET /operators/{id}
L3333+3L44 HEAD /operators/{id}
13333+3144 POST /operators/{id}/factors/reset
13333+3144 POST /operators/{id}/lock
13333+3144 POST /operators/{id}/password
13333+3144 POST /operators/{id}/remove
13333+3144 POST /operators/{id}/role
13333~3144 POST /operators/{id}/sessions/{session}/revoke
13333~3144 POST /operators/{id}/tokens/{token}/revoke
13333+3144 POST /operators/{id}/unlock
13333+3144 POST /sites/lock
13333+3144 POST /sites/unlock
L+++++3L44 GET /tunnels
L+++++3L44 HEAD /tunnels
L+++++3L44 GET /verify
L+++++3L44 HEAD /verify
1+++++3144 POST /verify
1+++++3144 POST /verify/passkey
1+++++3144 POST /verify/passkey/options
1+++++3144 GET /api/activity
1+++++3144 HEAD /api/activity
1333++3144 GET /api/audit
1333++3144 HEAD /api/audit
1333++3144 GET /api/audit/export
1333++3144 POST /api/audit/verify
13333+3144 GET /api/codes
13333+3144 HEAD /api/codes
13333+3144 POST /api/codes
13333+3144 DELETE /api/codes/{id}
1+++++3144 GET /api/devices
1+++++3144 HEAD /api/devices
1++4++3144 GET /api/devices/{id}
1++4++3144 HEAD /api/devices/{id}
13333+3144 POST /api/devices/{id}/approve
13333+3144 POST /api/devices/{id}/deny
13+43+3144 POST /api/devices/{id}/doctor
1++4++3144 GET /api/devices/{id}/ports
1++4++3144 HEAD /api/devices/{id}/ports
13+43+3144 PUT /api/devices/{id}/ports
13+43+3144 POST /api/devices/{id}/ports/check
13333+3144 POST /api/devices/{id}/quarantine
13333+3144 POST /api/devices/{id}/revoke
1++4++3144 GET /api/devices/{id}/timeline
1++4++3144 HEAD /api/devices/{id}/timeline
13333+3144 POST /api/devices/{id}/update
13333+3144 GET /api/locks
13333+3144 HEAD /api/locks
13333+3144 POST /api/locks
13333+3144 DELETE /api/locks
13333+3144 GET /api/operators
13333+3144 HEAD /api/operators
13333+3144 POST /api/operators
13333+3144 GET /api/operators/{id}
13333+3144 HEAD /api/operators/{id}
13333+3144 DELETE /api/operators/{id}
13333+3144 POST /api/operators/{id}/factors/reset
13333+3144 POST /api/operators/{id}/password
13333+3144 PUT /api/operators/{id}/role
13333~3144 DELETE /api/operators/{id}/tokens/{token}
13333+3144 GET /api/sessions
13333+3144 HEAD /api/sessions
13333~3144 DELETE /api/sessions/{id}
13+43+3144 POST /api/tunnel/connect
1++4++3144 GET /api/tunnel/connect/status
1++4++3144 HEAD /api/tunnel/connect/status
13+43+3144 DELETE /api/tunnel/disconnect
1++4++3144 GET /api/tunnel/status
1++4++3144 HEAD /api/tunnel/status
1+++++3144 GET /api/tunnels
1+++++3144 HEAD /api/tunnels
`
