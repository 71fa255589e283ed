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
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Session{
		ID: added.ID, OperatorID: ada.ID, CreatedAt: noon, SeenAt: noon, ExpiresAt: noon.Add(12 * time.Hour),
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

	if _, err := s.AddSession(ctx, hash("cookie"), Session{OperatorID: ada.ID}); !errors.Is(err, ErrConflict) {
		t.Errorf("second session with one cookie: error %v, want ErrConflict", err)
	}
	if _, err := s.AddSession(ctx, hash("other"), Session{OperatorID: "nobody"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("session of nobody: error %v, want ErrNotFound", err)
	}
	for range 2 { // the second time it is gone already
		if err := s.DeleteSession(ctx, want.ID); err != nil {
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
		_, err := s.AddSession(ctx, hash(test.name), Session{OperatorID: ada.ID, SeenAt: test.seen, ExpiresAt: test.expires})
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
		added, err := s.AddAPIToken(ctx, hash(name), APIToken{OperatorID: ada.ID, Label: name, CreatedAt: noon, ExpiresAt: expires})
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
	if _, err := s.AddAPIToken(ctx, hash("for ever"), APIToken{OperatorID: ada.ID}); !errors.Is(err, ErrConflict) {
		t.Errorf("second token with one text: error %v, want ErrConflict", err)
	}
	if _, err := s.AddAPIToken(ctx, hash("new"), APIToken{OperatorID: "nobody"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("token of nobody: error %v, want ErrNotFound", err)
	}
}
