package views

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// offered counts which of some controls an element has.
func offered(root *html.Node, testids ...string) map[string]int {
	got := map[string]int{}
	for _, id := range testids {
		if n := having(root, id); n > 0 {
			got[id] = n
		}
	}
	return got
}

// TestDeviceStanding: the head says why a device is not trusted or closed, and offers
// what can be decided, to those who may.
func TestDeviceStanding(t *testing.T) {
	t.Parallel()
	known := Known{ID: "k", Hostname: "OLD", State: "active", LastSeen: now}
	for _, tc := range []struct {
		name    string
		change  func(*Device)
		offered map[string]int
		says    []string
	}{
		{"trusted", func(*Device) {}, map[string]int{"lock-submit": 1, "quarantine-button": 1, "revoke-button": 1}, nil},
		{"no right", func(v *Device) { v.CanManage = false }, map[string]int{}, nil},
		{
			"pending", func(v *Device) { v.State = "pending" },
			map[string]int{"standing-pending": 1, "words": 1, "approve-button": 1, "deny-button": 1},
			[]string{sixWords, "Compare these words"},
		},
		{
			"known machine", func(v *Device) { v.State, v.Standing.Known = "pending", known },
			map[string]int{"standing-pending": 1, "words": 1, "known": 1, "replace-button": 1, "keep-both-button": 1, "deny-button": 1},
			[]string{"This machine is known as OLD", "last seen 2026-11-22 20:24:52 UTC"},
		},
		{
			"pending, no right", func(v *Device) { v.State, v.CanManage = "pending", false },
			map[string]int{"standing-pending": 1, "words": 1},
			[]string{sixWords},
		},
		{
			"cloned", func(v *Device) { v.State, v.Standing.Reason = "quarantined", "cloned" },
			map[string]int{"standing-quarantined": 1, "approve-button": 1, "revoke-button": 1},
			[]string{"Set aside by the engine: two machines used its identity", "Find the machines"},
		},
		{
			"set aside", func(v *Device) { v.State, v.Standing.Setter, v.Standing.Reason = "quarantined", "jon", "odd traffic" },
			map[string]int{"standing-quarantined": 1, "approve-button": 1, "revoke-button": 1},
			[]string{"Set aside by jon: odd traffic."},
		},
		{
			"set aside, known machine", func(v *Device) { v.State, v.Standing.Known = "quarantined", known },
			map[string]int{"standing-quarantined": 1, "known": 1, "replace-button": 1, "keep-both-button": 1, "revoke-button": 1},
			[]string{"This machine is known as OLD"},
		},
		{"revoked", func(v *Device) { v.State = "revoked" }, map[string]int{}, []string{"with a new key"}},
		{
			"locked", func(v *Device) { v.Standing.Locks = []Lock{cannedLock("device")} },
			map[string]int{"locked-pill": 1, "standing-device-lock": 1, "unlock-button": 1, "quarantine-button": 1, "revoke-button": 1},
			[]string{"This device is locked.", "stolen laptop", "jon", "until 2026-11-22 21:24:52 UTC"},
		},
		{
			"site locked", func(v *Device) { v.Standing.Locks = []Lock{cannedLock("site")} },
			map[string]int{"locked-pill": 1, "standing-site-lock": 1, "site-unlock-link": 1, "lock-submit": 1, "quarantine-button": 1, "revoke-button": 1},
			[]string{"The site Oslo is locked."},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := cannedDevice(TabSummary)
			v.Tunnel, v.Attached, v.Standing.Words, v.Standing.SetAt = Tunnel{}, false, sixWords, now
			tc.change(&v)
			root := parse(t, DeviceHead(v))
			got := offered(root, "standing-pending", "standing-quarantined", "standing-device-lock", "standing-site-lock", "words", "known", "approve-button",
				"deny-button", "replace-button", "keep-both-button", "revoke-button", "quarantine-button", "lock-submit", "unlock-button", "locked-pill", "site-unlock-link")
			if diff := cmp.Diff(tc.offered, got); diff != "" {
				t.Errorf("offers (-want +got)\n%s", diff)
			}
			for _, want := range tc.says {
				if said := text(root); !strings.Contains(said, want) {
					t.Errorf("does not say %q: %s", want, said)
				}
			}
			if tc.name != "trusted" && tc.name != "no right" && v.blocked() == "" {
				t.Error("Connect is offered")
			}
		})
	}
}

// TestQuestionsNameTheConsequence: whoever locks reads who is thrown out.
func TestQuestionsNameTheConsequence(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabSummary)
	for _, question := range []string{v.lockQuestion(), v.quarantineQuestion(), v.revokeQuestion(), cannedSites().Rows[1].lockQuestion()} {
		if !strings.HasPrefix(question, "2 operators are connected. ") {
			t.Errorf("%q", question)
		}
	}
	v.Tunnel.Operators = v.Tunnel.Operators[:1]
	if q := v.lockQuestion(); !strings.HasPrefix(q, "1 operator is connected. ") {
		t.Errorf("%q", q)
	}
	v.Tunnel.Operators = nil
	if q := v.lockQuestion(); strings.Contains(q, "connected.") {
		t.Errorf("%q", q)
	}
}

// TestRevokedIsForGood: no text says that a revoked device comes back with a code.
func TestRevokedIsForGood(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabSummary)
	revoked := v
	revoked.State, revoked.Tunnel = "revoked", Tunnel{}
	for _, said := range []string{v.revokeQuestion(), revoked.blocked()} {
		if strings.Contains(said, "new code") || !strings.Contains(said, "new key") {
			t.Errorf("%q", said)
		}
	}
}

func TestPendingQueue(t *testing.T) {
	t.Parallel()
	root := parse(t, PendingQueue(cannedQueue()))
	rows := elements(root, with("data-testid", "waiting"))
	if len(rows) != 3 {
		t.Fatalf("%d wait, want 3", len(rows))
	}
	for i, want := range []map[string]int{
		{"words": 1, "approve-button": 1, "deny-button": 1},
		{"words": 1, "known": 1, "replace-button": 1, "keep-both-button": 1, "deny-button": 1},
		{"words": 1, "known": 1, "replace-button": 1, "keep-both-button": 1, "deny-button": 1},
	} {
		got := offered(rows[i], "words", "known", "approve-button", "replace-button", "keep-both-button", "deny-button")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("row %d (-want +got)\n%s", i, diff)
		}
	}
	if said := text(rows[0]); !strings.Contains(said, sixWords) || !strings.Contains(said, "site Oslo") || !strings.Contains(said, "from 203.0.113.7") || !strings.Contains(said, "1 h ago") {
		t.Errorf("the first row is %q", said)
	}
	decisions := map[string]int{}
	for _, n := range elements(rows[1], with("name", "decision")) {
		v, _ := attribute(n, "value")
		decisions[v]++
	}
	if diff := cmp.Diff(map[string]int{"replace": 1, "keep_both": 1}, decisions); diff != "" {
		t.Errorf("decisions (-want +got)\n%s", diff)
	}
	viewer := cannedQueue()
	viewer.CanManage = false
	if n := len(elements(parse(t, PendingQueue(viewer)), named("form", "button"))); n != 0 {
		t.Error("somebody without the right is offered to decide")
	}
	if said := text(parse(t, PendingQueue(Queue{Life: 24 * time.Hour}))); !strings.Contains(said, "Nobody waits") || !strings.Contains(said, "24 h") {
		t.Errorf("an empty queue says %q", said)
	}
}

func TestWrongCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		v    WrongCodes
		says []string
	}{
		{WrongCodes{}, []string{"none in the last 24 hours"}},
		{WrongCodes{Count: 3, Sources: 1, Last: []Refusal{{At: now, Source: "203.0.113.9", Reason: "code_used"}}}, []string{"3 in the last 24 hours, from 1 source", "203.0.113.9 sent a code that is used up"}},
		{WrongCodes{Count: 30, Sources: 4, Many: true}, []string{"from 4 sources", "Many wrong codes"}},
		{WrongCodes{Count: 3000, Many: true, Resting: true}, []string{"Enrolment rests"}},
	} {
		said := text(parse(t, wrongCodes(tc.v)))
		for _, want := range tc.says {
			if !strings.Contains(said, want) {
				t.Errorf("%+v does not say %q: %s", tc.v, want, said)
			}
		}
	}
	if having(parse(t, EnrolmentPanel(Enrolment{})), "wrong-codes") != 0 {
		t.Error("addresses are shown to somebody who does not manage enrolment")
	}
}

func TestSiteList(t *testing.T) {
	t.Parallel()
	rows := elements(parse(t, SiteList(cannedSites())), with("data-testid", "site-row"))
	if len(rows) != 2 {
		t.Fatalf("%d sites", len(rows))
	}
	for i, want := range []map[string]int{{"site-lock": 1, "lock-submit": 1}, {"site-unlock": 1, "site-locked": 1}} {
		if diff := cmp.Diff(want, offered(rows[i], "site-lock", "lock-submit", "site-unlock", "site-locked")); diff != "" {
			t.Errorf("row %d (-want +got)\n%s", i, diff)
		}
	}
	if n := elements(rows[0], with("href", "/devices?site=Bergen")); len(n) != 1 {
		t.Error("no way to the site's devices")
	}
	viewer := cannedSites()
	viewer.CanManage = false
	if n := len(elements(parse(t, SiteList(viewer)), named("form", "button"))); n != 0 {
		t.Error("somebody without the right is offered to lock")
	}
}
