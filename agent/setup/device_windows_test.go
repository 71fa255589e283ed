package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"borealis/agent/service"
)

// None of these tests is parallel: there is one service manager, and that of Wine loses its
// handles when two processes use it at once.

// broken is a file among the keys that keeps the service from starting.
const broken = "broken"

// TestMain makes this program the service that its tests install, and one that uninstalls
// itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "service" {
		if _, err := os.Stat(filepath.Join(Place{Data: os.Args[4]}.keys(), broken)); err == nil {
			os.Exit(3)
		}
		err := service.Run("test", func(ctx context.Context, _ <-chan service.Event) error {
			<-ctx.Done()
			return nil
		})
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 5 && os.Args[1] == "uninstall" {
		os.Exit(uninstallMyself(os.Args[2], names{os.Args[3], os.Args[4]}))
	}
	os.Exit(m.Run())
}

func uninstallMyself(data string, n names) int {
	exe, err := os.Executable()
	if err != nil {
		return 1
	}
	done, err := Uninstall(context.Background(), UninstallConfig{Place: Place{Program: exe, Data: data}, Purge: true, names: n})
	fmt.Println(strings.Join(done.Removed, "\n"), strings.Join(done.Left, "\n"), err)
	if err != nil {
		return 1
	}
	return 0
}

// device is a place to install to, with names of its own.
type device struct {
	Config

	dir string
	log bytes.Buffer
}

// newDevice makes a device without an agent, which is without one again after the test.
func newDevice(t *testing.T) *device {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := &device{dir: dir}
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	d.Config = Config{
		Place:   Place{Program: filepath.Join(dir, "Program Files", "Borealis", "borealis-agent.exe"), Data: filepath.Join(dir, "Program Data")},
		Source:  exe,
		Version: "1.2.3", Address: "engine.example:8443", Pin: "PIN",
		Log:   &d.log,
		names: names{service: "BorealisSetup" + id, display: "Borealis Setup " + id},
	}
	d.Enrolled = func() (string, string, error) {
		b, err := os.ReadFile(filepath.Join(d.keys(), "engine.json"))
		if errors.Is(err, fs.ErrNotExist) {
			return "", "", nil
		}
		return "engine.example:8443", string(b), err
	}
	d.Enrol = func(context.Context) (Device, error) {
		write(t, filepath.Join(d.keys(), "engine.json"), d.Pin)
		return Device{ID: "device-1", State: "pending", Words: "one two"}, nil
	}
	t.Cleanup(func() {
		if _, err := Uninstall(context.Background(), UninstallConfig{Place: d.Place, Purge: true, names: d.names}); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *device) install(t *testing.T) Report {
	t.Helper()
	r, err := Install(t.Context(), d.Config)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.log.String())
	}
	return r
}

func (d *device) uninstall(t *testing.T, purge bool) Removal {
	t.Helper()
	r, err := Uninstall(t.Context(), UninstallConfig{Place: d.Place, Purge: purge, Log: &d.log, names: d.names})
	if err != nil {
		t.Fatalf("%v\n%s", err, d.log.String())
	}
	return r
}

// state is all that an installation changes, so that two moments can be compared. The log
// is left out.
func (d *device) state(t *testing.T) map[string]string {
	t.Helper()
	s, err := service.Query(d.names.service)
	if err != nil {
		t.Fatal(err)
	}
	source, err := service.SourceInstalled(d.names.display)
	if err != nil {
		t.Fatal(err)
	}
	e, err := readEntry(d.names.display)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"service": fmt.Sprintf("%t %t %s", s.Installed, s.Running, s.Command),
		"source":  fmt.Sprint(source), "entry": fmt.Sprintf("%+v", e),
	}
	for name, content := range tree(t, d.dir) {
		if len(content) > 64 {
			content = fmt.Sprintf("%d bytes", len(content))
		}
		if filepath.Base(name) != "install.log" {
			all[name] = content
		}
	}
	return all
}

// lengthened makes a program that does the same and is another file.
func lengthened(t *testing.T, program, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "older.exe")
	write(t, path, read(t, program)+"older")
	return path
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
