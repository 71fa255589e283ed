package inventory

import (
	"strings"
	"testing"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		product, release string
		build            uint32
		desktop          bool
		want             string
	}{
		{"Windows 10 Pro", "24H2", 26100, true, "Windows 11 Pro 24H2"},
		{"Windows 10 Enterprise", "21H2", 22000, true, "Windows 11 Enterprise 21H2"},
		{"Windows 10 Pro", "22H2", 19045, true, "Windows 10 Pro 22H2"},
		{"Windows 11 Pro", "26H2", 28000, true, "Windows 11 Pro 26H2"},
		{"Windows Server 2019 Standard", "1809", 17763, false, "Windows Server 2019 Standard 1809"},
		{"Windows Server 2025 Datacenter", "24H2", 26100, false, "Windows Server 2025 Datacenter 24H2"},
		{"Windows 10 Pro", "", 10240, true, "Windows 10 Pro"},
		{"", "", 10240, true, "Windows"},
	}
	for _, tt := range tests {
		if got := named(tt.product, tt.release, tt.build, tt.desktop); got != tt.want {
			t.Errorf("%q %q, build %d: %q, want %q", tt.product, tt.release, tt.build, got, tt.want)
		}
	}
}

// TestWindows asks the machine of the test, which every Windows answers.
func TestWindows(t *testing.T) {
	t.Parallel()
	i := Gather(t.Context())
	if !strings.Contains(i.Edition, "Windows") || !strings.HasPrefix(i.Build, "10.0.") {
		t.Errorf("edition %q, build %q", i.Edition, i.Build)
	}
	if MachineID() == "" {
		t.Error("no machine id")
	}
	system := false
	for _, d := range i.Disks {
		system = system || d.Name == "C:" && d.Kind != ""
	}
	if !system {
		t.Errorf("C: is not among %+v", i.Disks)
	}
	if i.CPU == "" {
		t.Error("the processor has no name")
	}
}

func TestLastUser(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ user, sam, want string }{
		{"", "", ""},
		{`CORP\nora`, `CORP\nora`, `CORP\nora`},
		{`.\jon`, `PC-1\jon`, "jon"},
		{"", `PC-1\jon`, `PC-1\jon`},
		{"nora@corp.example", "", "nora@corp.example"},
	} {
		if got := lastUser(tt.user, tt.sam); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.user, tt.sam, got, tt.want)
		}
	}
}
