package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCode(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	one := addCode(t, s, "one", Code{CreatedBy: "ada"})
	many, err := s.AddCode(ctx, hash("many"), Code{
		ID: "chosen", Uses: MaxUses, Used: 7, Site: "Berlin", CreatedBy: "zoe",
		CreatedAt: noon.Add(time.Second), ExpiresAt: noon.Add(time.Hour),
	}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Code{
		{ID: "chosen", Uses: MaxUses, Site: "Berlin", CreatedBy: "zoe", CreatedAt: noon.Add(time.Second), ExpiresAt: noon.Add(time.Hour)},
		{ID: one.ID, Uses: 1, CreatedBy: "ada", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)},
	}
	if diff := cmp.Diff(want, []Code{many, one}); diff != "" {
		t.Errorf("as added (-want +got):\n%s", diff)
	}
	got, err := s.Codes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("as listed (-want +got):\n%s", diff)
	}
	for _, uses := range []int{-1, MaxUses + 1} {
		if _, err := s.AddCode(ctx, hash("bad"), Code{Uses: uses}, Record{}); err == nil || !strings.Contains(err.Error(), "1 to 10000") {
			t.Errorf("a code with %d uses: error %v, want it to name the limit", uses, err)
		}
	}
	if _, err := s.AddCode(ctx, hash("one"), Code{}, Record{}); !errors.Is(err, ErrConflict) {
		t.Errorf("second code with one secret: error %v, want ErrConflict", err)
	}
	if err := s.DeleteCode(ctx, one.ID, Record{}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteCode(ctx, one.ID, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete again: error %v, want ErrNotFound", err)
	}
	if _, err := s.RedeemCode(ctx, hash("one"), Device{Pin: pin(1)}, noon, Record{}); !errors.Is(err, ErrCode) {
		t.Errorf("redeem a deleted code: error %v, want ErrCode", err)
	}
}

func TestRedeemCode(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	code := addCode(t, s, "approving", Code{Uses: 2, AutoApprove: true, Site: "Berlin", CreatedBy: "ada"})
	addCode(t, s, "asking", Code{CreatedBy: "ada"})
	facts := Device{
		Hostname: "pc-1", OS: "windows", OSVersion: "11", Arch: "amd64", AgentVersion: "1.0", Link: "wireguard-nt",
		Machine: "m1", Pin: pin(1), State: Revoked, Site: "claimed",
	}
	got, err := s.RedeemCode(ctx, hash("approving"), facts, noon, Record{})
	if err != nil {
		t.Fatal(err)
	}
	want := facts
	want.ID, want.State, want.Site, want.CreatedAt, want.LastSeen = got.ID, Active, "Berlin", noon, noon
	for what, read := range map[string]func() (Device, error){
		"as redeemed": func() (Device, error) { return got, nil },
		"by id":       func() (Device, error) { return s.Device(ctx, got.ID) },
		"by pin":      func() (Device, error) { return s.DeviceByPin(ctx, pin(1)) },
	} {
		d, err := read()
		if diff := cmp.Diff(want, d, cmpAddr); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	second, err := s.RedeemCode(ctx, hash("asking"), Device{Hostname: "pc-2", Pin: pin(2)}, noon, Record{})
	if err != nil || second.State != Pending || second.Site != "" || second.ID == got.ID {
		t.Errorf("device of a code that does not approve: %+v, %v", second, err)
	}
	if codes, err := s.Codes(ctx); err != nil || codes[0].Used != 1 || codes[1].Used != 1 {
		t.Errorf("codes %+v, %v: both should be used once", codes, err)
	}
	all, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: got.ID})
	if err != nil {
		t.Fatal(err)
	}
	record := []Record{{
		Seq: 3, At: noon, DeviceID: got.ID, Actor: "ada", Kind: "device_enrolled", Target: "pc-1", Result: Done,
		Detail: "with code " + code.ID + ", which approves by itself", Hostname: "pc-1",
	}}
	if diff := cmp.Diff(record, all, noHash); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
}

func TestRedeemCodeRefused(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "good", Code{})
	addCode(t, s, "used", Code{})
	if _, err := s.RedeemCode(ctx, hash("used"), Device{Pin: pin(1)}, noon, Record{}); err != nil {
		t.Fatal(err)
	}
	before := kinds(t, s)
	tests := []struct {
		name, secret, pin string
		now               time.Time
		want              error
	}{
		{"unknown", "guess", pin(2), noon, ErrCode},
		{"expired", "good", pin(2), noon.Add(time.Hour), ErrCodeExpired},
		{"long expired", "good", pin(2), noon.AddDate(1, 0, 0), ErrCodeExpired},
		{"used up", "used", pin(2), noon, ErrCodeUsed},
		{"used up by the same device", "used", pin(1), noon, ErrCodeUsed},
		{"no pin", "good", "", noon, nil},
		{"long pin", "good", pin(2) + "a", noon, nil},
	}
	for _, test := range tests {
		_, err := s.RedeemCode(ctx, hash(test.secret), Device{Pin: test.pin}, test.now, Record{})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
	if _, total, err := s.Devices(ctx, DeviceQuery{Scope: everything}); total != 1 || err != nil {
		t.Errorf("%d devices, %v, want 1", total, err)
	}
	if after := kinds(t, s); after != before {
		t.Errorf("activity %q, want %q", after, before)
	}
	if _, err := s.RedeemCode(ctx, hash("good"), Device{Pin: pin(2)}, noon.Add(time.Hour-1), Record{}); err != nil {
		t.Errorf("the good code in its last moment: %v", err)
	}
}

func TestEnrolAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		state        string // before the second enrolment
		approve      bool   // does the second code approve?
		want, detail string
	}{
		{"pending stays pending", Pending, false, Pending, "again, with code"},
		{"pending is approved", Pending, true, Active, "which approves by itself"},
		{"active stays active", Active, false, Active, "again, with code"},
		{"quarantined stays quarantined", Quarantined, true, Quarantined, "again, with code"},
		{"revoked stays revoked", Revoked, true, Revoked, "again, with code"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, ctx := openTest(t), t.Context()
			addCode(t, s, "first", Code{Site: "Berlin"})
			addCode(t, s, "second", Code{Site: "Oslo", AutoApprove: test.approve})
			first, err := s.RedeemCode(ctx, hash("first"), Device{Hostname: "old", Machine: "m1", Pin: pin(1)}, noon, Record{})
			if err != nil {
				t.Fatal(err)
			}
			if test.state != Pending {
				if err := s.SetDeviceState(ctx, first.ID, test.state, noon, Record{Actor: "ada"}); err != nil {
					t.Fatal(err)
				}
			}
			ip, err := s.Lease(ctx, first.ID, pool16)
			if err != nil {
				t.Fatal(err)
			}
			later := noon.Add(time.Minute)
			second, err := s.RedeemCode(ctx, hash("second"), Device{ID: "ignored", Hostname: "new", OS: "windows", Machine: "m2", Pin: pin(1)}, later, Record{})
			if err != nil {
				t.Fatal(err)
			}
			want := Device{
				ID: first.ID, Hostname: "new", OS: "windows", Machine: "m2", Pin: pin(1), State: test.want, Site: "Oslo",
				VirtualIP: ip, CreatedAt: noon, LastSeen: later,
			}
			stored, err := s.Device(ctx, first.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, second, cmpAddr); diff != "" {
				t.Errorf("as redeemed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, stored, cmpAddr); diff != "" {
				t.Errorf("as stored (-want +got):\n%s", diff)
			}
			if _, total, err := s.Devices(ctx, DeviceQuery{Scope: everything}); total != 1 || err != nil {
				t.Errorf("%d devices, %v, want 1", total, err)
			}
			lines, err := s.Records(ctx, RecordQuery{Scope: everything, Limit: 1})
			if err != nil || lines[0].Kind != "device_enrolled" || !strings.Contains(lines[0].Detail, test.detail) {
				t.Errorf("activity %+v, %v, want detail %q", lines, err, test.detail)
			}
		})
	}
}

func TestTooManyPending(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "rollout", Code{Uses: MaxUses})
	addCode(t, s, "approving", Code{AutoApprove: true})
	enrolMany(t, s, Code{}, MaxPending-1)
	if _, err := s.RedeemCode(ctx, hash("rollout"), Device{Pin: pin(MaxPending)}, noon, Record{}); err != nil {
		t.Fatalf("device %d: %v", MaxPending, err)
	}
	if _, err := s.RedeemCode(ctx, hash("rollout"), Device{Pin: pin(MaxPending + 1)}, noon, Record{}); !errors.Is(err, ErrTooManyPending) {
		t.Errorf("device %d: error %v, want ErrTooManyPending", MaxPending+1, err)
	}
	codes, err := s.Codes(ctx)
	if err != nil || codes[0].Used+codes[1].Used != 1 {
		t.Errorf("codes %+v, %v, want one use in all: a refusal takes none", codes, err)
	}
	if _, err := s.RedeemCode(ctx, hash("rollout"), Device{Pin: pin(3)}, noon, Record{}); err != nil {
		t.Errorf("a device that is pending already: %v", err)
	}
	if _, err := s.RedeemCode(ctx, hash("approving"), Device{Pin: pin(MaxPending + 2)}, noon, Record{}); err != nil {
		t.Errorf("a device that does not become pending: %v", err)
	}
	first, err := s.DeviceByPin(ctx, pin(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeviceState(ctx, first.ID, Active, noon, Record{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RedeemCode(ctx, hash("rollout"), Device{Pin: pin(MaxPending + 1)}, noon, Record{}); err != nil {
		t.Errorf("after one approval: %v", err)
	}
}

func TestRedeemCodeAtOnce(t *testing.T) {
	t.Parallel()
	for _, uses := range []int{1, 7} {
		t.Run(fmt.Sprintf("%d uses", uses), func(t *testing.T) {
			t.Parallel()
			s, ctx := openTest(t), t.Context()
			addCode(t, s, "secret", Code{Uses: uses})
			errs := atOnce(100, func(i int) error {
				_, err := s.RedeemCode(ctx, hash("secret"), Device{Hostname: fmt.Sprint(i), Pin: pin(i)}, noon, Record{})
				return err
			})
			if n := count(t, errs, ErrCodeUsed); n != uses {
				t.Errorf("%d of 100 redeemed the code, want %d", n, uses)
			}
			if _, total, err := s.Devices(ctx, DeviceQuery{Scope: everything}); total != uses || err != nil {
				t.Errorf("%d devices, %v, want %d", total, err, uses)
			}
			if n := strings.Count(kinds(t, s), "device_enrolled"); n != uses {
				t.Errorf("%d records, want %d", n, uses)
			}
		})
	}
}

// atOnce calls fn n times at once and returns what the calls returned.
func atOnce(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// count is how many errors are nil; all others must be want.
func count(t *testing.T, errs []error, want error) int {
	t.Helper()
	n := 0
	for _, err := range errs {
		switch {
		case err == nil:
			n++
		case !errors.Is(err, want):
			t.Errorf("error %v, want %v", err, want)
		}
	}
	return n
}
