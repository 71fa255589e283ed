package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOIDCOperator(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	const issuer, subject = "https://idp.example", "248289761001"
	zoe, err := s.AddOIDCOperator(ctx, Operator{Name: "zoe@example.org", Role: "operator", Sites: []string{"Oslo"}, CreatedAt: noon}, issuer, subject,
		Record{At: noon, Actor: "zoe@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.OperatorByIdentity(ctx, issuer, subject)
	if diff := cmp.Diff(zoe, got); diff != "" || err != nil || got.PasswordHash != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	want := Record{
		At: noon, Actor: "zoe@example.org", Kind: "operator_added", Target: "zoe@example.org", Result: Done,
		Detail: "operator, sites Oslo; from https://idp.example, subject 248289761001",
	}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for _, other := range [][2]string{{issuer, "other"}, {"https://other.example", subject}, {issuer, ""}} {
		if _, err := s.OperatorByIdentity(ctx, other[0], other[1]); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s at %s: error %v, want ErrNotFound", other[1], other[0], err)
		}
	}
	before := kinds(t, s)
	for what, add := range map[string]func() error{
		"the identity again": func() error {
			_, err := s.AddOIDCOperator(ctx, Operator{Name: "second", Role: "viewer"}, issuer, subject, Record{})
			return err
		},
		"the name again": func() error {
			_, err := s.AddOIDCOperator(ctx, Operator{Name: "ZOE@example.org", Role: "viewer"}, issuer, "other", Record{})
			return err
		},
	} {
		if err := add(); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: error %v, want ErrConflict", what, err)
		}
	}
	for _, identity := range [][2]string{{"", subject}, {issuer, ""}} {
		if _, err := s.AddOIDCOperator(ctx, Operator{Name: "third", Role: "viewer"}, identity[0], identity[1], Record{}); err == nil {
			t.Errorf("identity %q was stored", identity)
		}
	}
	if all, err := s.Operators(ctx); len(all) != 1 || err != nil || kinds(t, s) != before {
		t.Errorf("operators %+v, %v, records %s", all, err, kinds(t, s))
	}
	if err := s.DeleteOperator(ctx, zoe.ID, Record{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OperatorByIdentity(ctx, issuer, subject); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed operator: error %v, want ErrNotFound", err)
	}
}
