package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFactors(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada, zoe := addOperator(t, s, "ada"), addOperator(t, s, "zoe")
	check := func(what string, want Factors, any bool) {
		t.Helper()
		got, err := s.Factors(ctx, ada.ID)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
		if got.Any() != any {
			t.Errorf("%s: a second factor: %v, want %v", what, got.Any(), any)
		}
		if got, err := s.Factors(ctx, zoe.ID); got.Any() || got.RecoveryLeft != 0 || err != nil {
			t.Errorf("%s: the other operator has %+v, %v", what, got, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	did := Record{At: noon, Actor: "ada"}
	var want Factors
	check("at first", want, false)

	must(s.SetRecoveryCodes(ctx, ada.ID, [][32]byte{hash("1"), hash("2"), hash("3")}, did))
	want.RecoveryLeft = 3
	check("recovery codes alone", want, false)

	must(s.SetTOTP(ctx, ada.ID, []byte("first"), 10, did))
	must(s.SetTOTP(ctx, ada.ID, []byte("second"), 20, did))
	want.TOTP = true
	check("an app", want, true)
	if sealed, err := s.TOTP(ctx, ada.ID); string(sealed) != "second" || err != nil {
		t.Errorf("TOTP %q, %v", sealed, err)
	}
	must(s.DeleteTOTP(ctx, ada.ID, did))
	want.TOTP = false
	check("no app", want, false)
	for i, err := range []error{
		s.DeleteTOTP(ctx, ada.ID, did), s.SetTOTP(ctx, "nobody", []byte("x"), 1, did), s.SetRecoveryCodes(ctx, "nobody", nil, did), s.ResetFactors(ctx, "nobody", did),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%d: error %v, want ErrNotFound", i, err)
		}
	}
	if _, err := s.TOTP(ctx, ada.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("TOTP: error %v, want ErrNotFound", err)
	}
	if err := s.UseTOTP(ctx, ada.ID, 99); !errors.Is(err, ErrFactorUsed) {
		t.Errorf("a code without an app: error %v, want ErrFactorUsed", err)
	}

	must(s.SetRecoveryCodes(ctx, ada.ID, [][32]byte{hash("4"), hash("5")}, did))
	want.RecoveryLeft = 2
	check("new recovery codes", want, false)
	must(s.UseRecoveryCode(ctx, ada.ID, hash("5"), did))
	if got := lastRecord(t, s); got.Kind != "recovery_code_used" || got.Target != "ada" || got.Detail != "1 left" {
		t.Errorf("record %+v", got)
	}
	want.RecoveryLeft = 1
	check("one used", want, false)
	for i, err := range []error{
		s.UseRecoveryCode(ctx, ada.ID, hash("5"), did), // used
		s.UseRecoveryCode(ctx, ada.ID, hash("1"), did), // replaced
		s.UseRecoveryCode(ctx, zoe.ID, hash("4"), did), // another operator's
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%d: error %v, want ErrNotFound", i, err)
		}
	}
	if err := s.SetRecoveryCodes(ctx, ada.ID, make([][32]byte, maxRecoveryCodes+1), did); err == nil {
		t.Error("any number of recovery codes is accepted")
	}
}

func TestPasskeys(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	ada, zoe := addOperator(t, s, "ada"), addOperator(t, s, "zoe")
	var all []Passkey
	for i := range MaxPasskeys {
		p, err := s.AddPasskey(ctx, Passkey{
			OperatorID: ada.ID, Name: fmt.Sprint("key ", i), RPID: "localhost", CredentialID: []byte{0, byte(i)},
			Credential: []byte(`{"count":0}`), AddedAt: noon.Add(time.Duration(i)),
		}, Record{At: noon, Actor: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if got := lastRecord(t, s); got.Kind != "passkey_added" || got.Target != "ada" || got.Detail != "key 15" {
		t.Errorf("record %+v", got)
	}
	got, err := s.Factors(ctx, ada.ID)
	if diff := cmp.Diff(Factors{Passkeys: all}, got); diff != "" || err != nil || !got.Any() {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	one := Passkey{OperatorID: ada.ID, CredentialID: []byte("one more"), Credential: []byte("{}")}
	if _, err := s.AddPasskey(ctx, one, Record{}); !errors.Is(err, ErrTooManyFactors) {
		t.Errorf("one more: error %v, want ErrTooManyFactors", err)
	}
	one.OperatorID, one.CredentialID = zoe.ID, all[3].CredentialID
	if _, err := s.AddPasskey(ctx, one, Record{}); !errors.Is(err, ErrConflict) {
		t.Errorf("a known credential: error %v, want ErrConflict", err)
	}
	one.OperatorID, one.CredentialID = "nobody", []byte("new")
	if _, err := s.AddPasskey(ctx, one, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nobody: error %v, want ErrNotFound", err)
	}

	want := all[3]
	want.Credential, want.UsedAt = []byte(`{"count":1}`), noon.Add(time.Hour)
	if err := s.UsePasskey(ctx, want.ID, want.Credential, want.UsedAt); err != nil {
		t.Fatal(err)
	}
	p, o, err := s.PasskeyByCredential(ctx, want.CredentialID)
	if diff := cmp.Diff(want, p); diff != "" || err != nil || o.ID != ada.ID {
		t.Errorf("of %s, %v (-want +got):\n%s", o.Name, err, diff)
	}
	if err := s.DeletePasskey(ctx, zoe.ID, want.ID, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("another operator deletes it: error %v, want ErrNotFound", err)
	}
	if err := s.DeletePasskey(ctx, ada.ID, want.ID, Record{}); err != nil {
		t.Fatal(err)
	}
	_, _, gone := s.PasskeyByCredential(ctx, want.CredentialID)
	for i, err := range []error{gone, s.UsePasskey(ctx, want.ID, want.Credential, noon), s.DeletePasskey(ctx, ada.ID, want.ID, Record{})} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%d: error %v, want ErrNotFound", i, err)
		}
	}
}

func TestResetFactors(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	s, ctx := openAt(t, w.path), t.Context()
	if _, err := s.AddSession(ctx, hash("ada"), Session{OperatorID: w.ada.ID, ExpiresAt: noon}, Record{}); err != nil {
		t.Fatal(err)
	}
	if err := s.ResetFactors(ctx, w.zoe.ID, Record{At: noon, Actor: "ada", Reason: "lost her phone"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Factors(ctx, w.zoe.ID); got.Any() || got.RecoveryLeft != 0 || err != nil {
		t.Errorf("factors %+v, %v", got, err)
	}
	if all, err := s.Sessions(ctx, ""); len(all) != 1 || all[0].OperatorID != w.ada.ID || err != nil {
		t.Errorf("sessions %+v, %v, want only the other operator's", all, err)
	}
	want := Record{At: noon, Actor: "ada", Kind: "factors_reset", Target: "zoe", Result: Done, Reason: "lost her phone"}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestUsedOnce lets a hundred callers use up the same thing at once through two
// handles, as two processes would: one of them may.
func TestUsedOnce(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	path := filepath.Join(t.TempDir(), "borealis.db")
	copyFile(t, w.path, path)
	stores := []*Store{openAt(t, path), openAt(t, path)}
	ctx := t.Context()
	if err := stores[0].VerifySession(ctx, w.session.ID, hash("new"), noon, Record{}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		use  func(s *Store) error
		lost error
	}{
		"one-time code": {func(s *Store) error { return s.UseTOTP(ctx, w.zoe.ID, 2) }, ErrFactorUsed},
		"recovery code": {func(s *Store) error { return s.UseRecoveryCode(ctx, w.zoe.ID, hash("recovery"), Record{}) }, ErrNotFound},
		"verification":  {func(s *Store) error { return s.SpendVerification(ctx, w.session.ID, noon) }, ErrNotVerified},
	} {
		errs := atOnce(100, func(i int) error { return test.use(stores[i%2]) })
		if n := count(t, errs, test.lost); n != 1 {
			t.Errorf("%s: %d callers succeeded, want 1", name, n)
		}
	}
	for step, want := range map[int64]error{0: ErrFactorUsed, 1: ErrFactorUsed, 2: ErrFactorUsed} {
		if err := stores[0].UseTOTP(ctx, w.zoe.ID, step); !errors.Is(err, want) {
			t.Errorf("step %d: error %v, want %v", step, err, want)
		}
	}
	if err := stores[0].UseTOTP(ctx, w.zoe.ID, 3); err != nil {
		t.Errorf("a later step: %v", err)
	}
}
