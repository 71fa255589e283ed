package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"borealis/agent/service"
)

// None of these tests is parallel: there is one service manager, and that of Wine loses its
// handles when two processes use it at once.

// TestMain makes this program the service that its tests install: "service NAME FILE DO".
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "service" {
		if err := serve(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve writes what it lives through to a file.
func serve(name, file, do string) error {
	if do == "deaf" {
		d := make(deaf)
		go func() { _ = svc.Run(name, d) }() // It may never come back.
		<-d
		time.Sleep(time.Second) // The service manager is told.
		return nil
	}
	said := func(s string) { _ = os.WriteFile(file+"."+s, nil, 0o600) }
	err := service.Run(name, func(ctx context.Context, _ <-chan service.Event) error {
		said("up")
		switch do {
		case "fail":
			return errors.New("told to")
		case "leave":
			return nil
		}
		<-ctx.Done()
		return nil
	})
	if err != nil {
		said("failed")
		return err
	}
	said("down")
	return nil
}

// deaf is a service that hears one request, and then nothing, and ends by itself soon. It is closed at its end.
type deaf chan struct{}

// Execute implements [svc.Handler].
func (d deaf) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	defer close(d)
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop}
	<-requests
	time.Sleep(5 * time.Second)
	return false, 0
}

// subject is a service that a test may install, and that is gone after it.
func subject(t *testing.T, do string) (c service.Config, file string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "with space")
	c = service.Config{
		Name: fmt.Sprintf("BorealisTest%d%s", os.Getpid(), do), Display: "Borealis test " + do, Description: "Of a test.",
		Exe: exe,
	}
	c.Args = []string{"service", c.Name, file, do}
	t.Cleanup(func() {
		if err := service.Remove(context.Background(), c.Name); err != nil {
			t.Error(err)
		}
	})
	return c, file
}

func look(t *testing.T, name string) service.State {
	t.Helper()
	s, err := service.Query(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// exists waits for a file that the service writes.
func exists(t *testing.T, file string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(30 * time.Second)
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s does not come", file)
		}
	}
}

func TestLife(t *testing.T) {
	if err := service.Elevated(); err != nil {
		t.Fatal(err)
	}
	c, file := subject(t, "stay")
	if s := look(t, c.Name); s.Installed {
		t.Fatalf("before it is installed: %+v", s)
	}
	if err := service.Start(t.Context(), c.Name); !errors.Is(err, service.ErrAbsent) {
		t.Errorf("starting what is not there: %v, want ErrAbsent", err)
	}
	for i, want := range []bool{true, false} {
		if changed, err := service.Install(c); changed != want || err != nil {
			t.Fatalf("installation %d: changed %t, %v", i+1, changed, err)
		}
	}
	s := look(t, c.Name)
	quoted := `"` + c.Exe + `" service ` + c.Name + ` "` + file + `" stay`
	if !s.Installed || s.Running || !s.Automatic || s.PID != 0 || s.Command != quoted || !s.Starts(c.Exe) {
		t.Errorf("installed: %+v, want the command %s", s, quoted)
	}
	for range 2 { // Starting what runs is no error.
		if err := service.Start(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
	}
	if s = look(t, c.Name); !s.Running || s.PID == 0 {
		t.Errorf("started: %+v", s)
	}
	exists(t, file+".up")
	for range 2 { // Nor is stopping what is stopped.
		if err := service.Stop(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file + ".down"); err != nil { // At once: its process is gone.
		t.Errorf("stopped: %v", err)
	}
	if s = look(t, c.Name); s.Running || s.PID != 0 {
		t.Errorf("stopped: %+v", s)
	}
	if err := service.Start(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	for range 2 { // Removing stops it, and what is not there is no error.
		if err := service.Remove(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
		if s := look(t, c.Name); s.Installed {
			t.Fatalf("removed: %+v", s)
		}
	}
}

func TestServiceThatEnds(t *testing.T) {
	for _, do := range []string{"fail", "leave"} {
		c, file := subject(t, do)
		if _, err := service.Install(c); err != nil {
			t.Fatal(err)
		}
		if err := service.Start(t.Context(), c.Name); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("%s: %v", do, err)
		}
		exists(t, file+map[string]string{"fail": ".failed", "leave": ".down"}[do])
	}
}

// TestStopOfAServiceThatEnds: a program that ends by itself at that moment, as an agent does
// for its update, may not answer any more. It is stopped all the same.
func TestStopOfAServiceThatEnds(t *testing.T) {
	c, _ := subject(t, "deaf")
	if _, err := service.Install(c); err != nil {
		t.Fatal(err)
	}
	if err := service.Start(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	m, err := mgr.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Disconnect()
	s, err := m.OpenService(c.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 { // The first begins its end, the second is the last that is taken.
		if _, err := s.Control(svc.Interrogate); err != nil {
			t.Fatal(err)
		}
	}
	if err := service.Stop(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	if s := look(t, c.Name); s.Running || s.PID != 0 {
		t.Fatalf("stopped: %+v", s)
	}
}

func TestInstallRepairs(t *testing.T) {
	c, _ := subject(t, "repair")
	if _, err := service.Install(c); err != nil {
		t.Fatal(err)
	}
	before := look(t, c.Name)
	c.Args = append(c.Args[:3:3], "other")
	if changed, err := service.Install(c); !changed || err != nil {
		t.Fatalf("with another argument: changed %t, %v", changed, err)
	}
	if s := look(t, c.Name); !strings.HasSuffix(s.Command, " other") {
		t.Errorf("repaired: %+v", s)
	}
	if err := service.Restore(t.Context(), c.Name, before); err != nil {
		t.Fatal(err)
	}
	if s := look(t, c.Name); s != before {
		t.Errorf("restored: %+v, want %+v", s, before)
	}
	if err := service.Restore(t.Context(), c.Name, service.State{}); err != nil {
		t.Fatal(err)
	}
	if s := look(t, c.Name); s.Installed {
		t.Errorf("restored to nothing: %+v", s)
	}
}

func TestNameTaken(t *testing.T) {
	c, _ := subject(t, "taken")
	if _, err := service.Install(c); err != nil {
		t.Fatal(err)
	}
	before := look(t, c.Name)
	other := c
	other.Exe = `C:\Program Files\Borealis\borealis-agent.exe`
	changed, err := service.Install(other)
	if changed || !errors.Is(err, service.ErrTaken) || !strings.Contains(err.Error(), before.Command) {
		t.Errorf("taking it: changed %t, %v, want ErrTaken and the command", changed, err)
	}
	if s := look(t, c.Name); s != before {
		t.Errorf("afterwards: %+v, want %+v", s, before)
	}
}

func TestRunOutsideTheServiceManager(t *testing.T) {
	c, _ := subject(t, "leave")
	out, err := exec.CommandContext(t.Context(), c.Exe, c.Args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only the service manager can start a service") {
		t.Errorf("running in a window: %v: %s", err, out)
	}
}

func TestEventSource(t *testing.T) {
	name := fmt.Sprintf("Borealis test %d", os.Getpid())
	path := `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + name
	t.Cleanup(func() { _ = service.RemoveSource(name) })
	if there, err := service.SourceInstalled(name); there || err != nil {
		t.Fatalf("before: %t, %v", there, err)
	}
	for range 2 {
		if err := service.InstallSource(name); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := service.SourceInstalled(name); !there || err != nil {
		t.Fatalf("installed: %t, %v", there, err)
	}
	log, err := service.NewLog(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := service.RemoveSource(name); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE); err == nil {
		k.Close()
		t.Error("the source is still there")
	}
	if there, err := service.SourceInstalled(name); there || err != nil {
		t.Errorf("removed: %t, %v", there, err)
	}
}
