package main

import (
	"strings"
	"testing"
)

func TestOutsiders(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)":                            "",
		"D:AI(A;OICIID;FA;;;SY)(A;OICIID;0x1200a9;;;BU)(A;ID;0x2;;;BU)":    "all users",
		"D:(A;;FA;;;WD)(A;;FA;;;AU)":                                       "everyone, all who sign in",
		"D:P(D;;FA;;;WD)(A;;FA;;;S-1-5-21-1-2-3-1001)":                     "",
		"O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)S:AI(AU;SA;FA;;;WD)": "",
		"":       "",
		"D:(A;;": "",
	} {
		if got := strings.Join(outsiders(list), ", "); got != want {
			t.Errorf("%s lets in %q, want %q", list, got, want)
		}
	}
}
