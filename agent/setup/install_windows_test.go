package setup

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/service"
)

func TestInstallAndUninstall(t *testing.T) {
	d := newDevice(t)
	clean := d.state(t)
	r := d.install(t)
	if r.Present || r.Device == nil || r.Device.ID != "device-1" || r.Address != d.Address || r.Log != d.Place.log() {
		t.Errorf("the report is %+v", r)
	}
	s, err := service.Query(d.names.service)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"` + d.Program + `" service run --data "` + d.Data + `"`; !s.Running || !s.Automatic || s.Command != want {
		t.Errorf("the service is %+v, want %s", s, want)
	}
	e, err := readEntry(d.names.display)
	if err != nil {
		t.Fatal(err)
	}
	uninstall := `"` + d.Program + `" uninstall --data "` + d.Data + `"`
	want := entry{
		DisplayName: d.names.display, DisplayVersion: "1.2.3", Publisher: "Borealis", InstallLocation: filepath.Dir(d.Program),
		DisplayIcon: d.Program, UninstallString: uninstall + " --elevate", QuietUninstallString: uninstall, EstimatedSize: e.EstimatedSize,
	}
	if diff := cmp.Diff(want, e); diff != "" || e.EstimatedSize < 1024 {
		t.Errorf("the entry (-want +got):\n%s", diff)
	}
	if equal, err := same(d.Source, d.Program); !equal || err != nil {
		t.Errorf("the program is another one: %v", err)
	}
	log := read(t, r.Log)
	if log != d.log.String() {
		t.Errorf("install.log has\n%sand what is said is\n%s", log, d.log.String())
	}
	for _, step := range []string{
		"preflight: " + fit, "folders: made ", "stop: " + idle, "program: copied to ", "event source: ", "service: the service ",
		"list of programs: version 1.2.3 ", "enrolment: device device-1 is pending at engine.example:8443", "start: the service runs", "tidy: " + idle,
	} {
		if !strings.Contains(log, "Z install: "+step) {
			t.Errorf("install.log does not say %q:\n%s", step, log)
		}
	}

	again := d.install(t)
	if now, err := service.Query(d.names.service); err != nil || now.PID != s.PID || !again.Present || again.Device != nil {
		t.Errorf("again: %+v, %+v, %v", again, now, err)
	}

	done := d.uninstall(t, false)
	if len(done.Removed) != 5 || len(done.Left) != 2 || !strings.Contains(done.Left[1], "uninstall --purge") {
		t.Errorf("uninstalled: %+v", done)
	}
	now := d.state(t)
	for _, gone := range []string{"service", "source", "entry"} {
		if now[gone] != clean[gone] {
			t.Errorf("uninstalled: %s is %s", gone, now[gone])
		}
	}
	if now["Program Data/Agent/Borealis/Certificates/VPN_Client/engine.json"] != d.Pin || slices.ContainsFunc(slices.Collect(maps.Keys(now)), func(name string) bool {
		return strings.HasPrefix(name, "Program Files/Borealis")
	}) {
		t.Errorf("uninstalled: there are %v", now)
	}
	if log = read(t, r.Log); !strings.Contains(log, "uninstall: service: removed the service ") {
		t.Errorf("install.log says\n%s", log)
	}

	if r = d.install(t); r.Present || r.Device != nil {
		t.Errorf("installed with the identity that was left: %+v", r)
	}
	done = d.uninstall(t, true)
	clean["Program Files"] = "/" // The folder for programs is not the agent's.
	if diff := cmp.Diff(clean, d.state(t)); diff != "" {
		t.Errorf("purged, %+v (-before +after):\n%s", done, diff)
	}
	if done = d.uninstall(t, true); len(done.Removed)+len(done.Left) != 0 {
		t.Errorf("with nothing there: %+v", done)
	}
}

// TestInstallUndone breaks an installation at the enrolment and at the start, on a device
// without an agent and on one with an older one.
func TestInstallUndone(t *testing.T) {
	for _, older := range []bool{false, true} {
		d := newDevice(t)
		if older {
			d.Source = lengthened(t, d.Source, d.dir)
			d.install(t)
			d.Source, d.Version, d.Replace = must(os.Executable()), "1.2.4", true
		}
		before := d.state(t)
		refused := errors.New("the code is expired")
		enrol := d.Enrol
		d.Enrol = func(ctx context.Context) (Device, error) { return must(enrol(ctx)), refused }
		_, err := Install(t.Context(), d.Config)
		if !errors.Is(err, refused) || !strings.Contains(err.Error(), "install: enrolment: the code is expired. The machine is as it was before") {
			t.Errorf("refused: %v", err)
		}
		if diff := cmp.Diff(before, d.state(t)); diff != "" {
			t.Errorf("refused (-before +after):\n%s\n%s", diff, d.log.String())
		}
		d.Enrol = func(ctx context.Context) (Device, error) {
			write(t, filepath.Join(d.keys(), broken), "") // It gets that far, and then cannot start.
			return enrol(ctx)
		}
		if _, err = Install(t.Context(), d.Config); err == nil || !strings.Contains(err.Error(), "install: start: ") || !strings.Contains(err.Error(), "The code is used up") {
			t.Errorf("broken: %v", err)
		}
		if diff := cmp.Diff(before, d.state(t)); diff != "" {
			t.Errorf("broken (-before +after):\n%s\n%s", diff, d.log.String())
		}
		if older && !strings.Contains(read(t, d.Place.log()), "install: start: failed: ") {
			t.Error("install.log does not say it")
		}
		d.Enrol = enrol
		d.install(t)
	}
}

func TestUpgrade(t *testing.T) {
	d := newDevice(t)
	d.Source = lengthened(t, d.Source, d.dir)
	d.install(t)
	before, err := service.Query(d.names.service)
	if err != nil {
		t.Fatal(err)
	}
	d.Source, d.Version = must(os.Executable()), "2.0.0"
	if r := d.install(t); r.Present || r.Device != nil {
		t.Errorf("the upgrade is %+v", r)
	}
	now, err := service.Query(d.names.service)
	if err != nil || !now.Running || now.PID == before.PID {
		t.Errorf("the service is %+v, was %+v, %v", now, before, err)
	}
	if equal, err := same(d.Source, d.Program); !equal || err != nil {
		t.Errorf("the program is the old one: %v", err)
	}
	if e, err := readEntry(d.names.display); err != nil || e.DisplayVersion != "2.0.0" {
		t.Errorf("the entry is %+v, %v", e, err)
	}
	if left, err := os.ReadDir(filepath.Dir(d.Program)); err != nil || len(left) != 1 {
		t.Errorf("beside the program is %v, %v", left, err)
	}
}

func TestRepair(t *testing.T) {
	d := newDevice(t)
	d.install(t)
	want := d.state(t)
	if err := service.Stop(t.Context(), d.names.service); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(service.RemoveSource(d.names.display), removeEntry(d.names.display), os.RemoveAll(d.installers())); err != nil {
		t.Fatal(err)
	}
	if r := d.install(t); r.Present {
		t.Error("it says that nothing was to be done")
	}
	if diff := cmp.Diff(want, d.state(t)); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	d.Link = "netstack"
	d.install(t)
	if s, err := service.Query(d.names.service); err != nil || !s.Running || !strings.HasSuffix(s.Command, ` --link netstack`) {
		t.Errorf("with another link: %+v, %v", s, err)
	}
	d.Link = ""
	if r := d.install(t); !r.Present {
		t.Errorf("without a link it changes %+v", r)
	}
}

// TestPackaged is what the package for Windows Installer does: it has an entry of its own,
// and brings a new version without a code.
func TestPackaged(t *testing.T) {
	d := newDevice(t)
	before := d.state(t)
	enrol, address, pin := d.Enrol, d.Address, d.Pin
	d.Packaged, d.Enrol, d.Address, d.Pin = true, nil, "", ""
	if _, err := Install(t.Context(), d.Config); !errors.Is(err, ErrNoCode) {
		t.Errorf("without a code: %v", err)
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("without a code (-before +after):\n%s", diff)
	}
	d.Packaged, d.Enrol, d.Address, d.Pin = false, enrol, address, pin
	d.install(t)
	d.Packaged, d.Enrol, d.Address, d.Pin = true, nil, "", ""
	for i, present := range []bool{false, true} {
		if r := d.install(t); r.Present != present || r.Address != address {
			t.Errorf("installation %d is %+v", i+1, r)
		}
	}
	if e, err := readEntry(d.names.display); err != nil || e != (entry{}) {
		t.Errorf("the entry is %+v, %v", e, err)
	}
	own := filepath.Join(filepath.Dir(d.Program), "Setup", "borealis-agent-setup.exe")
	write(t, own, "of Windows Installer")
	done, err := Uninstall(t.Context(), UninstallConfig{Place: d.Place, Purge: true, Packaged: true, names: d.names})
	if err != nil || slices.ContainsFunc(done.Left, func(s string) bool { return strings.Contains(s, "of others") }) {
		t.Errorf("uninstalled: %+v, %v", done, err)
	}
	if got := read(t, own); got != "of Windows Installer" {
		t.Errorf("uninstalled: %q", got)
	}
}
