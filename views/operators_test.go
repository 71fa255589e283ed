package views

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

func TestOperatorList(t *testing.T) {
	t.Parallel()
	v := cannedOperators()
	v.Made = NewPassword{Name: "ann", Password: "aaaa-bbbb-cccc-dddd-eeee"}
	root := parse(t, OperatorsPage(cannedPage(), v))
	var rows []string
	for _, n := range elements(root, with("data-testid", "operator-row")) {
		rows = append(rows, text(n))
	}
	want := []string{
		"jon Operator Oslo passkey, app 2 May sign in just now",
		"nora (you) Administrator every site none 1 May sign in just now",
		"eve Viewer every site none 0 Locked never",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := text(one(t, root, "password-string")); got != v.Made.Password {
		t.Errorf("the password is %q", got)
	}
	if n := having(parse(t, OperatorsPage(cannedPage(), cannedOperators())), "password-string"); n != 0 {
		t.Error("a password is shown that was not made")
	}
}

// TestOperatorPage: everything can be changed about somebody else, and nothing about
// oneself but what one has open.
func TestOperatorPage(t *testing.T) {
	t.Parallel()
	controls := []string{
		"role-form", "password-reset", "factors-reset", "operator-lock-button", "operator-unlock", "remove-form", "session-revoke", "token-revoke",
	}
	you, locked := cannedOperator(), cannedOperator()
	you.You, locked.Lock = true, cannedLock("operator")
	for name, tc := range map[string]struct {
		v    Operator
		want map[string]int
	}{
		"somebody": {cannedOperator(), map[string]int{
			"role-form": 1, "password-reset": 1, "factors-reset": 1, "operator-lock-button": 1, "remove-form": 1, "session-revoke": 1, "token-revoke": 2,
		}},
		"locked": {locked, map[string]int{
			"role-form": 1, "password-reset": 1, "factors-reset": 1, "operator-unlock": 1, "remove-form": 1, "session-revoke": 1, "token-revoke": 2,
		}},
		"you": {you, map[string]int{"session-revoke": 1, "token-revoke": 2}},
	} {
		root := parse(t, OperatorPage(cannedPage(), tc.v))
		if diff := cmp.Diff(tc.want, offered(root, controls...)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	root := parse(t, OperatorPage(cannedPage(), locked))
	if said := text(one(t, root, "operator-lock")); !strings.Contains(said, "stolen laptop") {
		t.Errorf("a lock says %q", said)
	}
	if said := text(one(t, root, "operator-factors")); said != "2 passkeys (laptop, key ring) and codes of an app" {
		t.Errorf("second factors are %q", said)
	}
}

// TestRoleForm: the form says what is, and keeps a site that no device is at.
func TestRoleForm(t *testing.T) {
	t.Parallel()
	form := one(t, parse(t, OperatorPage(cannedPage(), cannedOperator())), "role-form")
	got := map[string]string{}
	for _, n := range elements(form, named("input")) {
		name, _ := attribute(n, "name")
		value, _ := attribute(n, "value")
		_, checked := attribute(n, "checked")
		if kind, _ := attribute(n, "type"); kind == "text" || checked {
			got[name] += value + " "
		}
	}
	for _, n := range elements(form, func(n *html.Node) bool { _, ok := attribute(n, "selected"); return ok }) {
		got["role"], _ = attribute(n, "value")
	}
	want := map[string]string{"role": "operator", "scope": "sites ", "site": "Oslo elsewhere "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestNavigation: it leads where somebody may go, and counts who waits.
func TestNavigation(t *testing.T) {
	t.Parallel()
	p := cannedPage()
	links := func(p Page) (names []string) {
		for _, n := range elements(parse(t, Sidebar(p)), named("a")) {
			names = append(names, text(n))
		}
		return names
	}
	if diff := cmp.Diff([]string{"Devices 128", "Tunnels 3", "Activity", "Enrolment"}, links(p)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	p.Pending, p.MayAudit, p.MayAppoint = 2, true, true
	if diff := cmp.Diff([]string{"Devices 128", "Tunnels 3", "Activity", "Enrolment 2 waiting for approval", "Audit", "Operators"}, links(p)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := text(one(t, parse(t, DevicesPage(p, cannedDevices())), "account-link")); got != p.Operator {
		t.Errorf("the top bar names %q", got)
	}
}
