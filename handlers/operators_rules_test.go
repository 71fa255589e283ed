package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// TestOperatorsTakeNoOtherFields: each route takes the fields that it is about, and a
// body with any other changes nothing.
func TestOperatorsTakeNoOtherFields(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	o := r.operatorWith("jon", access.Viewer, "Oslo")
	jon := r.stranger()
	jon.cookie = r.session(o, store.Session{ExpiresAt: time.Now().Add(sessionLife)})
	all, err := r.store.Sessions(t.Context(), o.ID)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	at := "/api/operators/" + o.ID
	routes := []struct {
		method, path, body string
		takes              string
	}{
		{http.MethodPost, "/api/operators", `{"name":"eve","role":"viewer","sites":[]`, "name role sites"},
		{http.MethodPut, at + "/role", `{"role":"operator","sites":[]`, "role sites"},
		{http.MethodPost, at + "/password", `{"":""`, ""},
		{http.MethodPost, at + "/factors/reset", `{"":""`, ""},
		{http.MethodDelete, at, `{"":""`, ""},
		{http.MethodDelete, "/api/sessions/" + all[0].ID, `{"":""`, ""},
		{http.MethodPost, "/api/locks", `{"kind":"operator","target":"` + o.ID + `","reason":"x"`, "kind target reason until"},
		{http.MethodDelete, "/api/locks", `{"kind":"operator","target":"` + o.ID + `"`, "kind target"},
	}
	for _, field := range []string{
		"id", "name", "role", "sites", "password", "password_hash", "PasswordHash", "new_password", "created_at", "totp", "passkeys", "operator_id",
		"session", "lock", "kind", "target", "reason", "until", "by", "at", "admin", "scope", "verified_at", "identity", "__proto__",
	} {
		for _, route := range routes {
			if strings.Contains(" "+route.takes+" ", " "+field+" ") {
				continue
			}
			body := fmt.Sprintf(`%s,%q:"admin"}`, route.body, field)
			if route.takes == "" {
				body = fmt.Sprintf(`{%q:"admin"}`, field)
			}
			if f := p.do(route.method, route.path, body).problem(t); f.Status != http.StatusBadRequest || f.Code != codeUnknownField || f.Field != field {
				t.Errorf("%s %s with %s: %+v", route.method, route.path, field, f)
			}
		}
	}
	if a := p.do(http.MethodPut, at+"/role", `{"role":"operator","sites":[],"Role":"admin"}`); a.problem(t).Code != codeMalformed {
		t.Errorf("a field twice in another case: %s", a.body)
	}
	after, err := r.store.Operators(t.Context())
	if err != nil || len(after) != 2 || after[1].Role != access.Viewer || after[1].PasswordHash != o.PasswordHash {
		t.Errorf("%+v %v", after, err)
	}
	jon.do(http.MethodGet, "/api/devices", "").into(t, new(devicesAnswer))
}

// TestNotOnYourself: nobody changes the own role, locks or removes oneself, nor resets
// what signing in takes.
func TestNotOnYourself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.operatorWith("other", access.Admin)
	b, p := r.browser("ann", access.Admin), r.program("prog", access.Admin)
	for c, name := range map[*client]string{b: "ann", p: "prog"} {
		o, err := r.store.OperatorByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		at := "/api/operators/" + o.ID
		lock, err := json.Marshal(lockRequest{Kind: store.LockOperator, Target: o.ID, Reason: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct{ method, path, body string }{
			{http.MethodPut, at + "/role", `{"role":"viewer","sites":[]}`},
			{http.MethodPut, at + "/role", `{"role":"admin","sites":[]}`},
			{http.MethodPost, at + "/password", ""},
			{http.MethodPost, at + "/factors/reset", ""},
			{http.MethodDelete, at, ""},
			{http.MethodPost, "/api/locks", string(lock)},
		} {
			if f := c.do(q.method, q.path, q.body).problem(t); f.Status != http.StatusForbidden || f.Code != codeYourself {
				t.Errorf("%s: %s %s: %+v", name, q.method, q.path, f)
			}
		}
		if after, err := r.store.Operator(t.Context(), o.ID); err != nil || after.Role != access.Admin || after.PasswordHash != o.PasswordHash {
			t.Errorf("%+v %v", after, err)
		}
		page := r.browser("looks-at-"+name, access.Admin).do(http.MethodGet, "/operators/"+o.ID, "", html...).body
		if !strings.Contains(page, "role-form") {
			t.Errorf("%s cannot be changed by others", name)
		}
	}
	ann, err := r.store.OperatorByName(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	page := b.do(http.MethodGet, "/operators/"+ann.ID, "", html...).body
	for _, not := range []string{"role-form", "remove-form", "password-reset", "factors-reset", "operator-lock-button"} {
		if strings.Contains(page, not) {
			t.Errorf("one's own page has %s", not)
		}
	}
}

// TestLastAdministrator: whatever is tried, somebody is left who may manage operators
// and can sign in.
func TestLastAdministrator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, last := r.program("ann", access.Admin), r.operatorWith("bob", access.Admin)
	ann, err := r.store.OperatorByName(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	was := principal{operator: ann} // whose request came when ann was one, too
	if err := r.store.SetRole(t.Context(), ann.ID, access.Auditor, nil, store.Record{}); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"role":   func() error { return r.setRole(t.Context(), was, last.ID, access.Viewer, nil) },
		"remove": func() error { return r.removeOperator(t.Context(), was, last.ID) },
		"lock": func() error {
			_, err := r.lock(t.Context(), was, store.Lock{Kind: store.LockOperator, Target: last.ID, Reason: "x"})
			return err
		},
	} {
		if f := problemOf(try()); f.Status != http.StatusConflict || f.Code != codeLastAdmin {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if after, err := r.store.Operator(t.Context(), last.ID); err != nil || after.Role != access.Admin {
		t.Errorf("%+v %v", after, err)
	}
	if f := p.do(http.MethodDelete, "/api/operators/"+last.ID, "").problem(t); f.Code != codeForbidden {
		t.Errorf("an auditor removes: %+v", f)
	}
}

// TestRacingDemotions: two administrators who take each other's role at the same time, a
// hundred times over, leave one.
func TestRacingDemotions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	clients := []*client{r.program("ann", access.Admin), r.program("bob", access.Admin)}
	var ids []string
	for _, name := range []string{"bob", "ann"} { // whom each of the two demotes
		o, err := r.store.OperatorByName(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, o.ID)
	}
	var work sync.WaitGroup
	start := make(chan struct{})
	done := make(chan int, 100)
	for i := range 100 {
		work.Go(func() {
			<-start
			a := clients[i%2].do(http.MethodPut, "/api/operators/"+ids[i%2]+"/role", `{"role":"viewer","sites":[]}`)
			done <- a.StatusCode
		})
	}
	close(start)
	work.Wait()
	close(done)
	for status := range done {
		if status != http.StatusOK && status != http.StatusForbidden && status != http.StatusConflict {
			t.Errorf("an answer of %d", status)
		}
	}
	all, err := r.store.Operators(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admins := 0
	for _, o := range all {
		if o.Role == access.Admin {
			admins++
		}
	}
	if admins != 1 {
		t.Errorf("%d administrators are left", admins)
	}
}

// TestOperatorsAskForAFreshFactor: a browser's session changes operators only shortly
// after its second factor was proven; looking takes none.
func TestOperatorsAskForAFreshFactor(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, func(c *Config) { c.StepUp = stepUpSession })
	ann, jon := r.operatorWith("ann", access.Admin), r.operatorWith("jon", access.Viewer)
	at := "/operators/" + jon.ID
	sessions, err := r.store.Sessions(t.Context(), jon.ID)
	if err != nil || len(sessions) != 0 {
		t.Fatal(sessions, err)
	}
	forms := map[string]string{
		"/operators": "name=eve&role=viewer&scope=all", at + "/role": "role=operator&scope=all", at + "/password": "", at + "/factors/reset": "",
		at + "/lock": "reason=x", at + "/unlock": "", at + "/remove": "name=jon",
	}
	for name, verified := range map[string]time.Time{"never": {}, "long ago": time.Now().Add(-proofLife - time.Minute)} {
		b := r.stranger()
		b.cookie = r.session(ann, store.Session{ExpiresAt: time.Now().Add(sessionLife), VerifiedAt: verified})
		for path, fields := range forms {
			if f := b.post(path, fields, part("operator")...).problem(t); f.Status != http.StatusForbidden || f.Code != codeSecondFactor {
				t.Errorf("%s: %s: %+v", name, path, f)
			}
		}
		asked := b.post(at+"/lock", "reason=x", append(part("operator"), "HX-Current-URL", "https://localhost"+at+"?x=1")...)
		if to := asked.Header.Get("HX-Redirect"); to != "/verify?next="+url.QueryEscape(at+"?x=1") {
			t.Errorf("%s: the page is sent to %q", name, to)
		}
		if a := b.do(http.MethodGet, at, "", html...); a.StatusCode != http.StatusOK {
			t.Errorf("%s: looking takes a second factor", name)
		}
	}
	b := r.stranger()
	b.cookie = r.session(ann, store.Session{ExpiresAt: time.Now().Add(sessionLife), VerifiedAt: time.Now()})
	if a := b.post(at+"/role", "role=operator&scope=all", part("operator")...); a.StatusCode != http.StatusOK {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
