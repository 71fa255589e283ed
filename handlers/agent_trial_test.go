package handlers

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/keys"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// trialBody asks for a trial with a new key.
func trialBody(t *testing.T) wire.TrialRequest {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return wire.TrialRequest{Key: private.PublicKey().String(), Dialled: "127.0.0.1:1"}
}

// tries sends a request as a device does.
func (r *rig) tries(id *keys.Identity, q wire.TrialRequest) answer {
	r.t.Helper()
	body, err := q.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.personality(wire.ServerName, id).do(http.MethodPost, wire.PathTrial, string(body))
}

// TestAgentTrial: an active device has the engine take one handshake, and learns that nothing of
// it was heard; nobody else does, and not often.
func TestAgentTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, active := r.device("active", store.Active)
	_, pending := r.device("pending", store.Pending)
	_, revoked := r.device("revoked", store.Revoked)
	q := trialBody(t)
	trial, err := wire.DecodeTrial([]byte(r.tries(active, q).body))
	if err != nil || trial.Seconds != 10 || !strings.HasPrefix(trial.Endpoint, "127.0.0.1:") || trial.Heard {
		t.Fatalf("the trial is %+v, %v", trial, err)
	}
	a := r.tries(active, trialBody(t))
	if p := a.problem(t); p.Code != codeTooMany || p.Retry < 1 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a second one at once: %+v", p)
	}
	done := q
	done.Done = true
	if over, err := wire.DecodeTrial([]byte(r.tries(active, done).body)); err != nil || over.Heard {
		t.Errorf("at its end: %+v, %v", over, err)
	}
	unknown := trialBody(t)
	unknown.Done = true
	if p := r.tries(active, unknown).problem(t); p.Code != codeNotFound {
		t.Errorf("the end of a trial that there is not: %+v", p)
	}
	if p := r.tries(pending, trialBody(t)).problem(t); p.Code != codePending {
		t.Errorf("a device that waits: %+v", p)
	}
	// The door turns a device away whose key is not taken any more.
	transport := r.personality(wire.ServerName, revoked)
	if response, err := transport.http.Do(transport.request(http.MethodPost, wire.PathTrial, "{}")); err == nil {
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			t.Error("a revoked device tries its path")
		}
	}
	if n := len(r.lines("path_trial")); n != 1 {
		t.Errorf("%d trials are on record", n)
	}
	for _, side := range []*client{r.browser("ann", access.Admin), r.personality(wire.EnrolServerName, active)} {
		if a := side.do(http.MethodPost, wire.PathTrial, `{}`, "Origin", "https://"+r.address); a.StatusCode != http.StatusNotFound {
			t.Errorf("on another side of the engine: %d", a.StatusCode)
		}
	}
}

// TestAgentTrialIsStrict: what is not a request is refused, whatever its size.
func TestAgentTrialIsStrict(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, active := r.device("active", store.Active)
	c := r.personality(wire.ServerName, active)
	key := trialBody(t).Key
	for _, body := range []string{"", "{}", "null", `{"key":"x"}`, `{"key":"` + key + `","role":"admin"}`, `{"key":"` + key + `"} {}`} {
		if a := c.do(http.MethodPost, wire.PathTrial, body); a.problem(t).Code != codeInvalid {
			t.Errorf("%q: %d %s", body, a.StatusCode, a.body)
		}
	}
	if a := c.do(http.MethodPost, wire.PathTrial, string(bytes.Repeat([]byte(" "), maxBody+1))); a.problem(t).Code != codeTooLarge {
		t.Errorf("a large body: %d %s", a.StatusCode, a.body)
	}
	if a := c.do(http.MethodGet, wire.PathTrial, ""); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", a.StatusCode)
	}
}

// TestAgentsOwnTrial: the agent's doctor makes a real handshake with the engine, and is heard.
func TestAgentsOwnTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := t.TempDir()
	var made codeAnswer
	r.browser("enroller", access.Admin).do(http.MethodPost, "/api/codes", `{"auto_approve":true}`).into(t, &made)
	if _, err := agent.Enrol(r.context(), agent.EnrolConfig{Data: data, Code: made.Code, Hostname: "pc"}); err != nil {
		t.Fatal(err)
	}
	tried, err := agent.TryPath(r.context(), data)
	if err != nil || !tried.Answered || !tried.Heard {
		t.Errorf("tried: %+v, %v", tried, err)
	}
}
