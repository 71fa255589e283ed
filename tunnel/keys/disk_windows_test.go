package keys

import (
	"testing"

	"golang.org/x/sys/windows"
)

func TestAccessListNamesThreeAndInheritsNothing(t *testing.T) {
	t.Parallel()
	const user = "S-1-5-21-1-2-3-1001"
	const want = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + user + ")"
	if got := sddl(user); got != want {
		t.Errorf("sddl = %s, want %s", got, want)
	}
	if got, want := sddl(""), "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"; got != want {
		t.Errorf("without a user: sddl = %s, want %s", got, want)
	}
	for _, s := range []string{sddl(""), sddl(user)} {
		if _, err := windows.SecurityDescriptorFromString(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}
