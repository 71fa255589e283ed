package access

import "testing"

// TestMayGrant: nobody gives a role that may do what they may not.
func TestMayGrant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		by, role string
		want     bool
	}{
		{Admin, Admin, true},
		{Admin, Auditor, true},
		{Admin, Operator, true},
		{Admin, Viewer, true},
		{Auditor, Viewer, true},
		{Auditor, Auditor, true},
		{Auditor, Operator, false}, // who may not connect
		{Auditor, Admin, false},
		{Operator, Operator, true},
		{Operator, Auditor, false},
		{Operator, Admin, false},
		{Viewer, Operator, false},
		{"", Viewer, false},
		{"owner", Viewer, false},
		{Admin, "owner", false},
		{Admin, "", false},
	} {
		if got := MayGrant(c.by, c.role); got != c.want {
			t.Errorf("%q may grant %q: %v", c.by, c.role, got)
		}
	}
}
