package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOperator(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	zoe := addOperator(t, s, "Zoë Ångström")
	ada := addOperator(t, s, "ada")
	if zoe.ID == "" || zoe.ID == ada.ID {
		t.Errorf("ids %q and %q should be made and differ", zoe.ID, ada.ID)
	}

	got, err := s.Operator(ctx, zoe.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := Operator{ID: zoe.ID, Name: "Zoë Ångström", PasswordHash: "$argon2id$x", Role: "admin", CreatedAt: noon}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operator (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Zoë Ångström", "zoë ångström", "ZOË ÅNGSTRÖM"} {
		if got, err := s.OperatorByName(ctx, name); err != nil || got.ID != want.ID {
			t.Errorf("by name %q: %+v, %v", name, got, err)
		}
		_, err := s.AddOperator(ctx, Operator{Name: name, PasswordHash: "x", Role: "viewer"})
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

	if err := s.SetPassword(ctx, ada.ID, "$argon2id$y"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Operator(ctx, ada.ID); err != nil || got.PasswordHash != "$argon2id$y" {
		t.Errorf("after SetPassword: %+v, %v", got, err)
	}
	if got, err := s.Operator(ctx, zoe.ID); err != nil || got.PasswordHash != "$argon2id$x" {
		t.Errorf("the other operator after SetPassword: %+v, %v", got, err)
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
	if err := s.SetPassword(ctx, "nobody", "hash"); !errors.Is(err, ErrNotFound) {
		t.Errorf("set password: error %v, want ErrNotFound", err)
	}
	for _, o := range []Operator{{}, {Name: " ", PasswordHash: "x", Role: "admin"}, {Name: "a", Role: "admin"}, {Name: "a", PasswordHash: "x"}} {
		if _, err := s.AddOperator(ctx, o); err == nil {
			t.Errorf("operator %+v was stored", o)
		}
	}
}
