package support

import (
	"bufio"
	"os"
	"runtime"
	"strings"
)

// Host says what something runs on.
type Host struct {
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	Kernel    string `json:"kernel"` // its release, "" when not known
	System    string `json:"system"` // the distribution, "" when not known
	CPUs      int    `json:"cpus"`
	Go        string `json:"go"`
	Privilege string `json:"privilege"` // root or user
}

// ThisHost looks at the host of this process.
func ThisHost() Host {
	f := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), Privilege: "user"}
	if os.Geteuid() == 0 {
		f.Privilege = "root"
	}
	f.Kernel, f.System = kernelRelease(), systemName("/etc/os-release")
	return f
}

// systemName is the name of the distribution in an os-release file, or "".
func systemName(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}
