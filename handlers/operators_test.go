package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// shownPassword is the password that a page shows; "" when it shows none.
func shownPassword(page string) string {
	_, rest, _ := strings.Cut(page, `data-testid="password-string">`)
	password, _, _ := strings.Cut(rest, "<")
	return password
}

// TestOperatorPages: an administrator adds an operator, changes what can be changed, and
// removes the operator again. Each password is shown once, and is the right one.
func TestOperatorPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.device("pc", store.Active, "Oslo")
	b := r.browser("ann", access.Admin)
	a := b.post("/operators", "name=jon&role=operator&scope=sites&site=Oslo&site=", part("operators")...)
	password := shownPassword(a.body)
	o, err := r.store.OperatorByName(t.Context(), "jon")
	if a.StatusCode != http.StatusOK || err != nil || o.Role != access.Operator || strings.Join(o.Sites, ",") != "Oslo" {
		t.Fatalf("%d %+v %v", a.StatusCode, o, err)
	}
	if ok, _, err := r.passwords.Check(t.Context(), o.PasswordHash, password); !ok || err != nil {
		t.Errorf("the password %q is not jon's: %v", password, err)
	}
	page := b.do(http.MethodGet, "/operators", "", html...).body
	if !strings.Contains(page, `data-operator="jon"`) || shownPassword(page) != "" || strings.Contains(page, password) {
		t.Error("the list does not have jon, or shows the password again")
	}

	jon := r.stranger()
	jon.cookie = r.session(o, store.Session{ExpiresAt: time.Now().Add(sessionLife), RemoteAddr: "203.0.113.24", UserAgent: "Firefox <b>"})
	at := "/operators/" + o.ID
	page = b.do(http.MethodGet, at, "", html...).body
	for _, want := range []string{"203.0.113.24", "Firefox &lt;b&gt;", `value="Oslo" checked`, "role-form", "remove-form"} {
		if !strings.Contains(page, want) {
			t.Errorf("jon's page does not have %s", want)
		}
	}
	if a := b.post(at+"/role", "role=viewer&scope=all&site=Oslo", part("operator")...); a.StatusCode != http.StatusOK {
		t.Errorf("role: %d %s", a.StatusCode, a.body)
	}
	if o, err = r.store.Operator(t.Context(), o.ID); err != nil || o.Role != access.Viewer || len(o.Sites) != 0 {
		t.Errorf("%+v %v", o, err)
	}
	a = b.post(at+"/password", "", part("operator")...)
	fresh := shownPassword(a.body)
	if o, err = r.store.Operator(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	if ok, _, err := r.passwords.Check(t.Context(), o.PasswordHash, fresh); !ok || err != nil || fresh == password {
		t.Errorf("the password %q is not jon's: %v", fresh, err)
	}
	if f := jon.do(http.MethodGet, "/devices", "").problem(t); f.Code != codeSessionExpired {
		t.Errorf("a session outlives its password: %+v", f)
	}
	if a := b.post(at+"/remove", "name=JON", part("operator")...); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Nothing was removed") {
		t.Errorf("another name removes: %d %s", a.StatusCode, a.body)
	}
	if a := b.post(at+"/remove", "name=jon", part("operator")...); a.StatusCode != http.StatusOK || a.Header.Get("HX-Redirect") != "/operators" {
		t.Errorf("remove: %d %s", a.StatusCode, a.body)
	}
	if f := b.do(http.MethodGet, at, "", "HX-Request", "true").problem(t); f.Status != http.StatusNotFound || f.Code != codeUnknownOperator {
		t.Errorf("%+v", f)
	}
	if kinds := strings.Join(r.kinds(), " "); !strings.Contains(kinds, "operator_changed password_changed operator_removed") {
		t.Errorf("on record: %s", kinds)
	}
	for _, text := range []string{password, fresh} {
		if strings.Contains(r.logs.String(), text) {
			t.Error("a password is in the log")
		}
	}
}

// TestOperatorFormsRefused: what is wrong is said in the form, and nothing changes.
func TestOperatorFormsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	o := r.operatorWith("jon", access.Viewer, "Oslo")
	for _, c := range []struct{ path, target, fields, says string }{
		{"/operators", "operators", "name=&role=viewer", "1 to 64"},
		{"/operators", "operators", "name=a+b&role=viewer", "1 to 64"},
		{"/operators", "operators", "name=Console&role=viewer", "stands for something else"},
		{"/operators", "operators", "name=eve&role=owner", "none of"},
		{"/operators", "operators", "name=eve&role=viewer&scope=sites", "Choose one site"},
		{"/operators", "operators", "name=eve&role=admin&scope=sites&site=Oslo", "every site"},
		{"/operators/" + o.ID + "/role", "operator", "role=admin&scope=sites&site=Oslo", "every site"},
		{"/operators/" + o.ID + "/role", "operator", "role=&scope=all", "none of"},
		{"/operators/" + o.ID + "/role", "operator", "role=viewer&scope=sites&site=", "Choose one site"},
		{"/operators/" + o.ID + "/lock", "operator", "reason=", "Say why"},
		{"/operators/" + o.ID + "/lock", "operator", "reason=x&for=-1h", "time to come"},
		{"/operators/" + o.ID + "/lock", "operator", "reason=x&for=soon", "not a time"},
	} {
		a := b.post(c.path, c.fields, part(c.target)...)
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, `id="`+c.target+`"`) || !strings.Contains(a.body, c.says) {
			t.Errorf("%s %s: %d %.400s", c.path, c.fields, a.StatusCode, a.body)
		}
	}
	if f := b.post("/operators", "name=JON&role=viewer", part("operators")...).problem(t); f.Status != http.StatusConflict || f.Code != codeNameTaken {
		t.Errorf("%+v", f)
	}
	all, err := r.store.Operators(t.Context())
	if err != nil || len(all) != 2 || all[1].Role != access.Viewer || len(all[1].Sites) != 1 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestOperatorsAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	var made newOperatorAnswer
	p.do(http.MethodPost, "/api/operators", `{"name":"jon","role":"operator","sites":["Oslo","Bergen","Oslo"]}`).into(t, &made)
	if made.Name != "jon" || made.Role != access.Operator || strings.Join(made.Sites, " ") != "Bergen Oslo" || !made.Password || made.LastSeen != nil || len(made.NewPassword) < 15 {
		t.Errorf("%+v", made)
	}
	o, err := r.store.Operator(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	jon := r.stranger()
	jon.cookie = r.session(o, store.Session{ExpiresAt: time.Now().Add(sessionLife)})
	token, hash := NewAPIToken()
	if _, err := r.store.AddAPIToken(t.Context(), hash, store.APIToken{OperatorID: o.ID, Label: "backup"}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	program := r.stranger()
	program.token = token
	at := "/api/operators/" + o.ID

	var one operatorDetail
	p.do(http.MethodGet, at, "").into(t, &one)
	if one.Sessions != 1 || len(one.Tokens) != 1 || one.Tokens[0].Label != "backup" || one.Lock != nil || one.LastSeen == nil {
		t.Errorf("%+v", one)
	}
	var all operatorsAnswer
	a := p.do(http.MethodGet, "/api/operators", "")
	a.into(t, &all)
	if len(all.Operators) != 2 || all.Operators[0].Name != "ann" || all.Operators[1].ID != o.ID || strings.Contains(a.body, "argon2") || strings.Contains(a.body, made.NewPassword) {
		t.Errorf("%s", a.body)
	}
	p.do(http.MethodPut, at+"/role", `{"role":"viewer","sites":[]}`).into(t, &one)
	if one.Role != access.Viewer || one.Sites == nil || len(one.Sites) != 0 {
		t.Errorf("%+v", one)
	}
	if f := p.do(http.MethodPut, at+"/role", `{"role":"operator"}`).problem(t); f.Code != codeInvalid || f.Field != "sites" {
		t.Errorf("a role without sites widens: %+v", f)
	}

	var sessions sessionsAnswer
	p.do(http.MethodGet, "/api/sessions?operator_id="+o.ID, "").into(t, &sessions)
	if len(sessions.Sessions) != 1 || sessions.Sessions[0].OperatorID != o.ID || sessions.Sessions[0].Current {
		t.Fatalf("%+v", sessions)
	}
	var gone removedAnswer
	p.do(http.MethodDelete, "/api/sessions/"+sessions.Sessions[0].ID, "").into(t, &gone)
	if f := jon.do(http.MethodGet, "/devices", "").problem(t); f.Code != codeSessionExpired {
		t.Errorf("a revoked session lives: %+v", f)
	}
	if f := p.do(http.MethodDelete, "/api/sessions/"+gone.Removed, "").problem(t); f.Code != codeNotFound {
		t.Errorf("%+v", f)
	}
	program.do(http.MethodGet, "/api/devices", "").into(t, new(devicesAnswer))
	p.do(http.MethodDelete, at+"/tokens/"+one.Tokens[0].ID, "").into(t, &gone)
	if f := program.do(http.MethodGet, "/api/devices", "").problem(t); f.Code != codeUnauthenticated {
		t.Errorf("a revoked token works: %+v", f)
	}
	if f := p.do(http.MethodDelete, at+"/tokens/"+one.Tokens[0].ID, "").problem(t); f.Code != codeNotFound {
		t.Errorf("%+v", f)
	}

	var password passwordAnswer
	p.do(http.MethodPost, at+"/password", "").into(t, &password)
	if o, err = r.store.Operator(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	if ok, _, err := r.passwords.Check(t.Context(), o.PasswordHash, password.NewPassword); !ok || err != nil {
		t.Errorf("%q is not the password: %v", password.NewPassword, err)
	}
	if err := r.store.SetTOTP(t.Context(), o.ID, []byte("sealed"), 1, store.Record{}); err != nil {
		t.Fatal(err)
	}
	if p.do(http.MethodGet, at, "").into(t, &one); !one.TOTP {
		t.Error("no second factor before it is reset")
	}
	if p.do(http.MethodPost, at+"/factors/reset", "").into(t, &one); one.TOTP {
		t.Error("the second factor is still there")
	}
	p.do(http.MethodDelete, at, "").into(t, &gone)
	if f := p.do(http.MethodGet, at, "").problem(t); gone.Removed != o.ID || f.Code != codeUnknownOperator {
		t.Errorf("%+v %+v", gone, f)
	}
	want := "operator_added token_added operator_changed session_revoked token_removed token_refused password_changed totp_added factors_reset operator_removed"
	if kinds := strings.Join(r.kinds(), " "); !strings.HasSuffix(kinds, want) {
		t.Errorf("on record: %s\nwant %s", kinds, want)
	}
}
