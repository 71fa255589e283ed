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
	if _, err := windows.SecurityDescriptorFromString(sddl(user)); err != nil {
		t.Error(err)
	}
}
