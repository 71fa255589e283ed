package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
)

func TestCodesAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	var made codeAnswer
	a := p.do(http.MethodPost, "/api/codes", `{"uses":3,"ttl_seconds":7200,"site":"Oslo"}`)
	a.into(t, &made)
	code, err := wire.ParseCode(made.Code)
	if err != nil {
		t.Fatal(err)
	}
	if code.Address != r.address || code.Pin != r.keys.Identity.Pin() || made.Uses != 3 {
		t.Errorf("%+v %+v", made, code)
	}
	if life := time.Until(made.ExpiresAt); life > 2*time.Hour || life < 2*time.Hour-time.Minute {
		t.Errorf("it lives for %s", life)
	}
	var all codesAnswer
	a = p.do(http.MethodGet, "/api/codes", "")
	a.into(t, &all)
	if len(all.Codes) != 1 || all.Codes[0].ID != made.ID || all.Codes[0].Site != "Oslo" || all.Codes[0].AutoApprove || all.Codes[0].CreatedBy != "ann" || all.Codes[0].Used != 0 {
		t.Errorf("%+v", all)
	}
	if strings.Contains(a.body, code.Secret) || strings.Contains(r.logs.String(), code.Secret) {
		t.Error("the secret is in the list or in the log")
	}
	if kinds := r.kinds(); kinds[len(kinds)-1] != "code_created" {
		t.Errorf("on record: %v", kinds)
	}
	p.do(http.MethodPost, "/api/codes", `{}`).into(t, &made)
	if made.Uses != 1 || time.Until(made.ExpiresAt) > time.Hour {
		t.Errorf("%+v", made)
	}
	var gone removedAnswer
	p.do(http.MethodDelete, "/api/codes/"+made.ID, "").into(t, &gone)
	if again := p.do(http.MethodDelete, "/api/codes/"+made.ID, "").problem(t); gone.Removed != made.ID || again.Code != codeNotFound {
		t.Errorf("%+v %+v", gone, again)
	}
	for body, field := range map[string]string{
		`{"auto_approve":true,"ttl_seconds":3601}`:          "ttl_seconds",
		`{"auto_approve":true,"uses":101}`:                  "uses",
		`{"auto_approve":true,"uses":5000,"site":"Oslo"}`:   "uses",
		`{"auto_approve":true,"ttl_seconds":604800}`:        "ttl_seconds",
		`{"uses":1,"ttl_seconds":604801}`:                   "ttl_seconds",
		`{"site":"` + strings.Repeat("a", maxSite+1) + `"}`: "site",
	} {
		if f := p.do(http.MethodPost, "/api/codes", body).problem(t); f.Status != 422 || f.Code != codeInvalid || f.Field != field {
			t.Errorf("%s: %+v", body, f)
		}
	}
	p.do(http.MethodPost, "/api/codes", `{"auto_approve":true,"ttl_seconds":3600,"uses":100}`).into(t, &made)
}

// TestCodesAreForTheirSites: who is held to a site does not see the codes of others.
func TestCodesAreForTheirSites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enrolCode(store.Code{Site: "Oslo", CreatedBy: "secret-maker"})
	r.enrolCode(store.Code{Site: "Bergen", CreatedBy: "open-maker"})
	page := r.browser("vic", access.Viewer, "Bergen").do(http.MethodGet, "/enrolment", "", html...).body
	if strings.Contains(page, "secret-maker") || !strings.Contains(page, "open-maker") {
		t.Error("codes of another site are shown, or none")
	}
}
