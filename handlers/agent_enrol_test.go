package handlers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
)

// newcomer is a machine that is not enrolled.
func (r *rig) newcomer() (*client, *keys.Identity) {
	r.t.Helper()
	id, err := keys.NewIdentity("newcomer")
	if err != nil {
		r.t.Fatal(err)
	}
	return r.dialer(wire.EnrolServerName, id.TLS()), id
}

func enrolBody(t *testing.T, secret, hostname string) string {
	t.Helper()
	body, err := json.Marshal(wire.EnrolRequest{
		Secret: secret, Hostname: hostname, OS: "windows", OSVersion: "11 24H2", Arch: "amd64", Version: "1", Machine: wire.NewSecret(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEnrol(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		name    string
		approve bool
		state   string
	}{{"with approval", false, store.Pending}, {"at once", true, store.Active}} {
		agent, id := r.newcomer()
		secret := r.enrolCode(store.Code{AutoApprove: c.approve, Site: "Oslo"})
		a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, secret, "PC-1"))
		got, err := wire.DecodeEnrolResponse([]byte(a.body))
		if err != nil || a.StatusCode != http.StatusOK || got.State != c.state || got.Message == "" {
			t.Fatalf("%s: %d %s: %v", c.name, a.StatusCode, a.body, err)
		}
		d, err := r.store.DeviceByPin(t.Context(), id.Pin().String())
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != got.DeviceID || d.Hostname != "PC-1" || d.OS != "windows" || d.Site != "Oslo" || d.State != c.state {
			t.Errorf("%s: %+v", c.name, d)
		}
		if strings.Contains(r.logs.String(), secret) {
			t.Error("the secret is in the log")
		}
	}
}

func TestEnrolRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	used := r.enrolCode(store.Code{})
	first, _ := r.newcomer()
	if a := first.do(http.MethodPost, wire.PathEnrol, enrolBody(t, used, "first")); a.StatusCode != http.StatusOK {
		t.Fatal(a.body)
	}
	expired := r.enrolCode(store.Code{ExpiresAt: time.Now().Add(-time.Second)})
	good := r.enrolCode(store.Code{})
	for _, c := range []struct {
		name, body string
		status     int
		code       code
	}{
		{"unknown code", enrolBody(t, wire.NewSecret(), "x"), 403, codeEnrolUnknown},
		{"used code", enrolBody(t, used, "x"), 409, codeEnrolUsed},
		{"expired code", enrolBody(t, expired, "x"), 410, codeEnrolExpired},
		{"malformed code", enrolBody(t, "short", "x"), 422, codeInvalid},
		{"malformed JSON", "{", 422, codeInvalid},
		{"unknown field", `{"secret":"` + good + `","x":1}`, 422, codeInvalid},
		{"control characters", enrolBody(t, good, "a\x1b[31mb"), 422, codeInvalid},
		{"too large", `{"secret":"` + strings.Repeat("A", maxBody) + `"}`, 413, codeTooLarge},
	} {
		agent, id := r.newcomer()
		a := agent.do(http.MethodPost, wire.PathEnrol, c.body)
		if p := a.problem(t); p.Status != c.status || p.Code != c.code || p.Detail == "" || p.Hint == "" {
			t.Errorf("%s: %+v, want %d %s", c.name, p, c.status, c.code)
		}
		if _, err := r.store.DeviceByPin(t.Context(), id.Pin().String()); err == nil {
			t.Errorf("%s: there is a device", c.name)
		}
		r.enrolments.forgive("127.0.0.1") // the next is about something else
	}
	agent, _ := r.newcomer()
	if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, good, "x")); a.StatusCode != http.StatusOK {
		t.Errorf("the good code was used up: %s", a.body)
	}
	if a := agent.do(http.MethodGet, wire.PathEnrol, ""); a.problem(t).Code != codeMethod || a.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", a.body)
	}
}

func TestEnrolRevokedKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Revoked)
	agent := r.dialer(wire.EnrolServerName, id.TLS())
	a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, r.enrolCode(store.Code{AutoApprove: true}), "pc"))
	if a.problem(t).Code != codeRevoked {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if after, err := r.store.Device(t.Context(), d.ID); err != nil || after.State != store.Revoked {
		t.Errorf("%s %v", after.State, err)
	}
}

// TestEnrolGuessing: wrong codes cost a source time, and altogether they end enrolment
// for a while.
func TestEnrolGuessing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	agent, _ := r.newcomer()
	good := r.enrolCode(store.Code{Uses: 10})
	for r.enrolments.wait("127.0.0.1") == 0 {
		if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, wire.NewSecret(), "x")); a.problem(t).Code != codeEnrolUnknown {
			t.Fatal(a.body)
		}
	}
	a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, good, "x"))
	if p := a.problem(t); p.Code != codeTooMany || p.Retry < 1 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a source that guesses: %+v", p)
	}
	r.enrolments = newThrottle(maxPenalty)
	if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, good, "x")); a.StatusCode != http.StatusOK {
		t.Errorf("a source that does not guess: %s", a.body)
	}
	for !r.wrongCodes.spent() {
		r.wrongCodes.spend()
	}
	if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, good, "x")); a.problem(t).Code != codeTooMany {
		t.Errorf("when everybody guesses: %s", a.body)
	}
}
