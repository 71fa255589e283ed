package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSession(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada := addOperator(t, s, "ada")
	berlin := time.FixedZone("CET", 3600)
	added, err := s.AddSession(ctx, hash("cookie"), Session{
		OperatorID: ada.ID, CreatedAt: noon.In(berlin), ExpiresAt: noon.Add(12 * time.Hour).In(berlin),
		RemoteAddr: "192.0.2.7:5000", UserAgent: "Mozilla/5.0 (\x00'\")",
	}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	want := Session{
		ID: added.ID, OperatorID: ada.ID, Method: ByPassword, CreatedAt: noon, SeenAt: noon, ExpiresAt: noon.Add(12 * time.Hour),
		RemoteAddr: "192.0.2.7:5000", UserAgent: "Mozilla/5.0 (\x00'\")",
	}
	check := func(what string, want Session) {
		t.Helper()
		got, operator, err := s.SessionByHash(ctx, hash("cookie"))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(ada, operator); diff != "" {
			t.Errorf("%s: operator (-want +got):\n%s", what, diff)
		}
	}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Errorf("as added (-want +got):\n%s", diff)
	}
	check("as read", want)

	want.SeenAt = noon.Add(time.Minute)
	for _, at := range []time.Duration{time.Minute, time.Second} { // the second one comes late
		if err := s.TouchSession(ctx, want.ID, noon.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	check("touched", want)

	if _, err := s.AddSession(ctx, hash("cookie"), Session{OperatorID: ada.ID}, Record{}); !errors.Is(err, ErrConflict) {
		t.Errorf("second session with one cookie: error %v, want ErrConflict", err)
	}
	if _, err := s.AddSession(ctx, hash("other"), Session{OperatorID: "nobody"}, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("session of nobody: error %v, want ErrNotFound", err)
	}
	for range 2 { // the second time it is gone already
		if err := s.DeleteSession(ctx, want.ID, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.SessionByHash(ctx, hash("cookie")); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted session: error %v, want ErrNotFound", err)
	}
	if err := s.TouchSession(ctx, want.ID, noon); !errors.Is(err, ErrNotFound) {
		t.Errorf("touch a deleted session: error %v, want ErrNotFound", err)
	}
}

func TestDeleteExpiredSessions(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada := addOperator(t, s, "ada")
	idleBefore := noon.Add(-30 * time.Minute)
	tests := []struct {
		name          string
		seen, expires time.Time
		kept          bool
	}{
		{"in use", noon, noon.Add(time.Hour), true},
		{"just not idle", idleBefore, noon.Add(time.Hour), true},
		{"idle", idleBefore.Add(-1), noon.Add(time.Hour), false},
		{"just not expired", noon, noon.Add(1), true},
		{"expired", noon, noon, false},
	}
	for _, test := range tests {
		_, err := s.AddSession(ctx, hash(test.name), Session{OperatorID: ada.ID, SeenAt: test.seen, ExpiresAt: test.expires}, Record{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.DeleteExpiredSessions(ctx, idleBefore, noon); n != 2 || err != nil {
		t.Errorf("deleted %d, %v, want 2", n, err)
	}
	for _, test := range tests {
		_, _, err := s.SessionByHash(ctx, hash(test.name))
		if kept := err == nil; kept != test.kept {
			t.Errorf("%s: kept %v, want %v (%v)", test.name, kept, test.kept, err)
		}
	}
	if n, err := s.DeleteExpiredSessions(ctx, idleBefore, noon); n != 0 || err != nil {
		t.Errorf("second time deleted %d, %v, want 0", n, err)
	}
}

func TestAPIToken(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada := addOperator(t, s, "ada")
	for name, expires := range map[string]time.Time{"for a month": noon.AddDate(0, 1, 0), "for ever": {}} {
		added, err := s.AddAPIToken(ctx, hash(name), APIToken{OperatorID: ada.ID, Label: name, CreatedAt: noon, ExpiresAt: expires}, Record{})
		if err != nil {
			t.Fatal(err)
		}
		got, operator, err := s.APITokenByHash(ctx, hash(name))
		if err != nil {
			t.Fatal(err)
		}
		want := APIToken{ID: added.ID, OperatorID: ada.ID, Label: name, CreatedAt: noon, ExpiresAt: expires}
		if diff := cmp.Diff(want, got); diff != "" || added != want {
			t.Errorf("%s: added %+v, read (-want +got):\n%s", name, added, diff)
		}
		if diff := cmp.Diff(ada, operator); diff != "" {
			t.Errorf("%s: operator (-want +got):\n%s", name, diff)
		}
	}
	if _, _, err := s.APITokenByHash(ctx, hash("guess")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown token: error %v, want ErrNotFound", err)
	}
	if _, err := s.AddAPIToken(ctx, hash("for ever"), APIToken{OperatorID: ada.ID}, Record{}); !errors.Is(err, ErrConflict) {
		t.Errorf("second token with one text: error %v, want ErrConflict", err)
	}
	if _, err := s.AddAPIToken(ctx, hash("new"), APIToken{OperatorID: "nobody"}, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("token of nobody: error %v, want ErrNotFound", err)
	}
}

func TestSessionRecords(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada := addOperator(t, s, "ada")
	v, err := s.AddSession(ctx, hash("cookie"), Session{OperatorID: ada.ID, Method: ByPasskey, CreatedAt: noon, RemoteAddr: "192.0.2.1"}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	want := Record{At: noon, Actor: "ada", Session: v.ID, Source: "192.0.2.1", Kind: "signed_in", Target: "ada", Result: Done, Detail: "with passkey"}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("signed in (-want +got):\n%s", diff)
	}
	if _, err := s.AddSession(ctx, hash("strange"), Session{OperatorID: ada.ID, Method: "magic"}, Record{}); err == nil {
		t.Error("an unknown way to sign in was stored")
	}
	did := Record{At: noon, Actor: "eve", Session: "other", Source: "192.0.2.2", Kind: "session_revoked"}
	for range 2 { // the second time it has ended
		if err := s.DeleteSession(ctx, v.ID, did); err != nil {
			t.Fatal(err)
		}
	}
	want = did
	want.Target, want.Result, want.Detail = "ada", Done, "session "+v.ID
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("revoked (-want +got):\n%s", diff)
	}
	if got := kinds(t, s); got != "operator_added signed_in session_revoked" {
		t.Errorf("records %s", got)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada, zoe := addOperator(t, s, "ada"), addOperator(t, s, "zoe")
	var all []Session
	for i, o := range []Operator{ada, zoe, ada} {
		v, err := s.AddSession(ctx, hash(string(rune('a'+i))), Session{OperatorID: o.ID, CreatedAt: noon.Add(time.Duration(i))}, Record{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	for id, want := range map[string][]Session{"": {all[2], all[1], all[0]}, ada.ID: {all[2], all[0]}, zoe.ID: {all[1]}, "nobody": nil} {
		got, err := s.Sessions(ctx, id)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("of %q: %v (-want +got):\n%s", id, err, diff)
		}
	}
}

func TestVerifySession(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada := addOperator(t, s, "ada")
	v, err := s.AddSession(ctx, hash("before"), Session{OperatorID: ada.ID, CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	spend := func(what string, notBefore time.Time, want error) {
		t.Helper()
		if err := s.SpendVerification(ctx, v.ID, notBefore); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", what, err, want)
		}
	}
	spend("before it is verified", time.Time{}, ErrNotVerified)
	at := noon.Add(time.Minute)
	if err := s.VerifySession(ctx, v.ID, hash("after"), at, Record{Source: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	want := Record{At: at, Actor: "ada", Session: v.ID, Source: "192.0.2.1", Kind: "second_factor_verified", Target: "ada", Result: Done}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if _, _, err := s.SessionByHash(ctx, hash("before")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old cookie: error %v, want ErrNotFound", err)
	}
	got, _, err := s.SessionByHash(ctx, hash("after"))
	v.VerifiedAt = at
	if diff := cmp.Diff(v, got); diff != "" || err != nil {
		t.Errorf("the new cookie: %v (-want +got):\n%s", err, diff)
	}
	spend("too old", at.Add(1), ErrNotVerified)
	spend("in time", at, nil)
	spend("a second time", at, ErrNotVerified)
	got, _, err = s.SessionByHash(ctx, hash("after"))
	if err != nil || got.ShellAt.Before(at) {
		t.Errorf("spent at %v, %v, want it to be now", got.ShellAt, err)
	}
	again := time.Now().Add(time.Hour)
	if err := s.VerifySession(ctx, v.ID, hash("again"), again, Record{}); err != nil {
		t.Fatal(err)
	}
	spend("verified again", at, nil)
	spend("spent again", at, ErrNotVerified)
	if err := s.VerifySession(ctx, "none", hash("x"), at, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no session: error %v, want ErrNotFound", err)
	}
}
