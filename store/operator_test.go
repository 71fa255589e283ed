package store

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOperator(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	zoe := addOperator(t, s, "Zoe.Angstrom")
	ada := addOperator(t, s, "ada")
	if zoe.ID == "" || zoe.ID == ada.ID {
		t.Errorf("ids %q and %q should be made and differ", zoe.ID, ada.ID)
	}

	got, err := s.Operator(ctx, zoe.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := Operator{ID: zoe.ID, Name: "Zoe.Angstrom", PasswordHash: "$argon2id$x", Role: "admin", CreatedAt: noon}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operator (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Zoe.Angstrom", "zoe.angstrom", "ZOE.ANGSTROM"} {
		if got, err := s.OperatorByName(ctx, name); err != nil || got.ID != want.ID {
			t.Errorf("by name %q: %+v, %v", name, got, err)
		}
		_, err := s.AddOperator(ctx, Operator{Name: name, PasswordHash: "x", Role: "viewer"}, Record{})
		if !errors.Is(err, ErrConflict) {
			t.Errorf("second operator %q: error %v, want ErrConflict", name, err)
		}
	}
	all, err := s.Operators(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Operator{ada, zoe}, all); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
}

// TestOperatorNames makes sure that no two names can be mistaken for each other.
func TestOperatorNames(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	add := func(o Operator) error {
		o.PasswordHash = "h"
		_, err := s.AddOperator(ctx, o, Record{})
		return err
	}
	for _, name := range []string{"a", "ada.l_2-x@example.org", strings.Repeat("x", 64), "-", "007"} {
		if err := add(Operator{Name: name, Role: "viewer"}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", " ", " ada", "ada ", "a b", "ada\n", "ada\x00", "zo\u00eb", "\u0430da", "a/b", "a,b", "<b>", strings.Repeat("x", 65)} {
		if err := add(Operator{Name: name, Role: "viewer"}); err == nil || !strings.Contains(err.Error(), "1 to 64") {
			t.Errorf("%q: error %v, want it to say what a name is", name, err)
		}
	}
	for _, role := range []string{"", "root", "Admin", "admin "} {
		if err := add(Operator{Name: "new", Role: role}); err == nil || !strings.Contains(err.Error(), "auditor") {
			t.Errorf("role %q: error %v, want it to name the roles", role, err)
		}
	}
	for _, sites := range [][]string{{""}, {strings.Repeat("x", maxSiteLength+1)}, make([]string, maxSites+1)} {
		if err := add(Operator{Name: "new", Role: "viewer", Sites: sites}); err == nil {
			t.Errorf("%d sites such as %.20q were taken", len(sites), sites[0])
		}
	}
	// Names that were given before there was such a rule stay.
	do(t, openRaw(t, s.path(t)), "INSERT INTO operator VALUES ('old', 'Zo\u00eb \u00c5.', 'zo\u00eb \u00e5.', 'h', 'admin', 1, '[]')")
	if o, err := s.OperatorByName(ctx, "ZO\u00cb \u00c5."); err != nil || o.ID != "old" {
		t.Errorf("an old name: %+v, %v", o, err)
	}
	if err := s.SetRole(ctx, "old", "auditor", nil, Record{}); err == nil {
		t.Error("the only administrator was demoted")
	}
}

func TestSetPassword(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada, zoe := addOperator(t, s, "ada"), addOperator(t, s, "zoe")
	var ids []string
	for cookie, o := range map[string]Operator{"here": ada, "there": ada, "elsewhere": ada, "zoe": zoe} {
		v, err := s.AddSession(ctx, hash(cookie), Session{OperatorID: o.ID, ExpiresAt: noon}, Record{})
		if err != nil {
			t.Fatal(err)
		}
		if cookie == "here" || cookie == "zoe" {
			ids = append(ids, v.ID)
		}
	}
	if _, err := s.AddAPIToken(ctx, hash("token"), APIToken{OperatorID: ada.ID}, Record{}); err != nil {
		t.Fatal(err)
	}
	here, _, err := s.SessionByHash(ctx, hash("here"))
	if err != nil {
		t.Fatal(err)
	}
	did := Record{At: noon, Actor: "ada", Session: here.ID, Source: "192.0.2.1"}
	if err := s.SetPassword(ctx, ada.ID, "$argon2id$y", did); err != nil {
		t.Fatal(err)
	}
	left, err := s.Sessions(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range left {
		if !slices.Contains(ids, v.ID) {
			t.Errorf("session %+v is left", v)
		}
	}
	if len(left) != 2 {
		t.Errorf("%d sessions are left, want the one that did it and zoe's", len(left))
	}
	if _, _, err := s.APITokenByHash(ctx, hash("token")); err != nil {
		t.Errorf("the API token: %v", err)
	}
	want := did
	want.Kind, want.Target, want.Result = "password_changed", "ada", Done
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}

	lines := kinds(t, s)
	if err := s.RehashPassword(ctx, ada.ID, "$argon2id$z"); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Sessions(ctx, ada.ID); len(left) != 1 || err != nil || kinds(t, s) != lines {
		t.Errorf("after a rehash: sessions %v, %v, records %s", left, err, kinds(t, s))
	}
	if got, err := s.Operator(ctx, ada.ID); err != nil || got.PasswordHash != "$argon2id$z" {
		t.Errorf("after RehashPassword: %+v, %v", got, err)
	}
	if got, err := s.Operator(ctx, zoe.ID); err != nil || got.PasswordHash != "$argon2id$x" {
		t.Errorf("the other operator: %+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"no hash":      s.SetPassword(ctx, ada.ID, "", Record{}),
		"no new hash":  s.RehashPassword(ctx, ada.ID, ""),
		"nobody":       s.SetPassword(ctx, "nobody", "h", Record{}),
		"nobody again": s.RehashPassword(ctx, "nobody", "h"),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestSetRole(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addOperator(t, s, "ada")
	zoe, err := s.AddOperator(ctx, Operator{Name: "zoe", PasswordHash: "h", Role: "operator", Sites: []string{"Oslo", "Berlin", "Oslo"}}, Record{At: noon, Actor: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Berlin", "Oslo"}, zoe.Sites); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
	want := Record{At: noon, Actor: "ada", Kind: "operator_added", Target: "zoe", Result: Done, Detail: "operator, sites Berlin, Oslo"}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := s.SetRole(ctx, zoe.ID, "viewer", []string{"Rome"}, Record{At: noon, Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	want.Kind, want.Detail = "operator_changed", "viewer, sites Rome; was operator, sites Berlin, Oslo"
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for what, read := range map[string]func() (Operator, error){
		"by id":   func() (Operator, error) { return s.Operator(ctx, zoe.ID) },
		"by name": func() (Operator, error) { return s.OperatorByName(ctx, "zoe") },
		"in the list": func() (Operator, error) {
			all, err := s.Operators(ctx)
			return all[1], err
		},
	} {
		if o, err := read(); err != nil || o.Role != "viewer" || !slices.Equal(o.Sites, []string{"Rome"}) {
			t.Errorf("%s: %+v, %v", what, o, err)
		}
	}
	if err := s.SetRole(ctx, zoe.ID, "admin", nil, Record{}); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Operator(ctx, zoe.ID); err != nil || o.Role != "admin" || len(o.Sites) != 0 {
		t.Errorf("as an administrator: %+v, %v", o, err)
	}
	if err := s.SetRole(ctx, zoe.ID, "king", nil, Record{}); err == nil {
		t.Error("an unknown role was accepted")
	}
	if err := s.SetRole(ctx, "nobody", "viewer", nil, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody: error %v, want ErrNotFound", err)
	}
}

// TestDeleteOperator makes sure that nothing lets an operator in who was removed.
func TestDeleteOperator(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	s, ctx := openAt(t, w.path), t.Context()
	if err := s.AddLock(ctx, Lock{Kind: LockOperator, Target: w.zoe.ID, At: noon}, Record{}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteOperator(ctx, w.zoe.ID, Record{At: noon, Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	want := Record{At: noon, Actor: "ada", Kind: "operator_removed", Target: "zoe", Result: Done}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	_, _, err1 := s.SessionByHash(ctx, hash("cookie"))
	_, _, err2 := s.APITokenByHash(ctx, hash("token"))
	_, _, err3 := s.PasskeyByCredential(ctx, []byte("id"))
	_, err4 := s.TOTP(ctx, w.zoe.ID)
	for i, err := range []error{err1, err2, err3, err4, s.UseRecoveryCode(ctx, w.zoe.ID, hash("recovery"), Record{}), s.DeleteOperator(ctx, w.zoe.ID, Record{})} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%d: error %v, want ErrNotFound", i, err)
		}
	}
	locks, err := s.Locks(ctx, noon)
	if err != nil || len(locks) != 2 {
		t.Errorf("locks %+v, %v", locks, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestOperatorUnknown(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if all, err := s.Operators(ctx); err != nil || len(all) != 0 {
		t.Errorf("operators of a new database: %v, %v", all, err)
	}
	if _, err := s.Operator(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("by id: error %v, want ErrNotFound", err)
	}
	if _, err := s.OperatorByName(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("by name: error %v, want ErrNotFound", err)
	}
	if err := s.SetPassword(ctx, "nobody", "hash", Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("set password: error %v, want ErrNotFound", err)
	}
	for _, o := range []Operator{{}, {Name: " ", PasswordHash: "x", Role: "admin"}, {Name: "a", Role: "admin"}, {Name: "a", PasswordHash: "x"}} {
		if _, err := s.AddOperator(ctx, o, Record{}); err == nil {
			t.Errorf("operator %+v was stored", o)
		}
	}
}
