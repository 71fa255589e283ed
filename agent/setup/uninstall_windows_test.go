package setup

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestInstallersStay keeps what an administrator put below Dependencies, whatever is run.
func TestInstallersStay(t *testing.T) {
	d := newDevice(t)
	d.install(t)
	dll := filepath.Join(d.installers(), "amd64", "wireguard.dll")
	write(t, dll, "driver")
	d.install(t)
	done := d.uninstall(t, true)
	if read(t, dll) != "driver" || !slices.ContainsFunc(done.Left, func(s string) bool { return strings.HasPrefix(s, d.installers()) }) {
		t.Errorf("purged: %+v", done)
	}
	if _, err := os.Stat(d.agent()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("purged: %v", err)
	}
	if err := os.RemoveAll(d.Data); err != nil {
		t.Fatal(err)
	}
}

// TestUninstallItself runs the installed program, which cannot remove itself at once.
func TestUninstallItself(t *testing.T) {
	d := newDevice(t)
	d.install(t)
	write(t, d.Program+".old", "of an update")
	out, err := exec.CommandContext(t.Context(), d.Program, "uninstall", d.Data, d.names.service, d.names.display).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	left, err := os.ReadDir(filepath.Dir(d.Program))
	if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), "borealis-agent.exe.removed-") {
		t.Fatalf("there is %v, %v\n%s", left, err, out)
	}
	if !strings.Contains(string(out), left[0].Name()+": it runs. Windows removes it") {
		t.Errorf("it says\n%s", out)
	}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\Session Manager`, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	later, _, err := k.GetStringsValue("PendingFileRenameOperations")
	if err != nil || !strings.Contains(strings.Join(later, "\n"), left[0].Name()) {
		t.Errorf("Windows removes %q when it starts, %v", later, err)
	}
	if e, err := readEntry(d.names.display); err != nil || e != (entry{}) {
		t.Errorf("the entry is %+v, %v", e, err)
	}
}
