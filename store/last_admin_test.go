package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func TestLastAdmin(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada, eve := addOperator(t, s, "ada"), addOperator(t, s, "eve")
	last := func(what string, want bool, err error) {
		t.Helper()
		if got := errors.Is(err, ErrLastAdmin); got != want || !want && err != nil {
			t.Errorf("%s: error %v, want ErrLastAdmin: %v", what, err, want)
		}
	}
	lock := func(o Operator, until time.Time) error {
		return s.AddLock(ctx, Lock{Kind: LockOperator, Target: o.ID, Until: until}, Record{})
	}
	last("of two, one is locked", false, lock(eve, time.Now().Add(time.Hour)))
	last("demote the other", true, s.SetRole(ctx, ada.ID, "viewer", nil, Record{}))
	last("delete the other", true, s.DeleteOperator(ctx, ada.ID, Record{}))
	last("lock the other", true, lock(ada, time.Time{}))
	last("lock the other for a while", true, lock(ada, time.Now().Add(time.Minute)))
	last("sites of the other", false, s.SetRole(ctx, ada.ID, "admin", nil, Record{}))
	last("demote the locked one", false, s.SetRole(ctx, eve.ID, "viewer", nil, Record{}))
	last("promote the locked one", false, s.SetRole(ctx, eve.ID, "admin", nil, Record{}))
	last("demote the other again", true, s.SetRole(ctx, ada.ID, "viewer", nil, Record{}))
	last("unlock", false, s.DeleteLock(ctx, LockOperator, eve.ID, Record{}))
	last("delete the other now", false, s.DeleteOperator(ctx, ada.ID, Record{}))
	last("delete the last", true, s.DeleteOperator(ctx, eve.ID, Record{}))
	last("an operator who is none", false, func() error {
		o, err := s.AddOperator(ctx, Operator{Name: "viv", PasswordHash: "h", Role: "viewer"}, Record{})
		return errors.Join(err, lock(o, time.Time{}), s.DeleteOperator(ctx, o.ID, Record{}))
	}())
}

// TestEngineWithoutAdmin makes sure that an engine that has no administrator can
// still be put in order.
func TestEngineWithoutAdmin(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	o, err := s.AddOperator(ctx, Operator{Name: "viv", PasswordHash: "h", Role: "viewer"}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"operator", "admin"} {
		if err := s.SetRole(ctx, o.ID, role, nil, Record{}); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	if err := s.SetRole(ctx, o.ID, "viewer", nil, Record{}); !errors.Is(err, ErrLastAdmin) {
		t.Errorf("back: error %v, want ErrLastAdmin", err)
	}
}

// TestAdminsFallUponEachOther lets a hundred administrators demote, remove and lock
// each other at once through two handles, as two processes would.
func TestAdminsFallUponEachOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	stores := []*Store{openAt(t, path), openAt(t, path)}
	ctx := t.Context()
	admins := make([]Operator, 100)
	for i := range admins {
		admins[i] = addOperator(t, stores[0], fmt.Sprint("admin-", i))
	}
	errs := atOnce(len(admins), func(i int) error {
		s, id := stores[i%2], admins[(i+1)%len(admins)].ID
		switch i % 3 {
		case 0:
			return s.SetRole(ctx, id, "viewer", nil, Record{})
		case 1:
			return s.DeleteOperator(ctx, id, Record{})
		default:
			return s.AddLock(ctx, Lock{Kind: LockOperator, Target: id}, Record{})
		}
	})
	if n := count(t, errs, ErrLastAdmin); n != len(admins)-1 {
		t.Errorf("%d of %d succeeded, want all but one", n, len(admins))
	}
	v, err := stores[1].Standing(ctx, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for id, o := range v.Operators {
		if o.Role == "admin" && !v.locked(id) {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d administrators are left, want 1", left)
	}
}

// locked reports whether an operator is locked.
func (v Standing) locked(operatorID string) bool {
	for _, l := range v.Locks {
		if l.Kind == LockOperator && l.Target == operatorID {
			return true
		}
	}
	return false
}
