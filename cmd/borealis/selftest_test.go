//go:build linux

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/selftest"
	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// mustCheck are the checks that the issue names, as they are called. Names are a contract.
var mustCheck = []string{
	"functional/engine starts", "functional/agents enrol by code", "functional/agents are online", "functional/connect brings a tunnel up",
	"functional/tunnel token is single use", "functional/terminal opens a shell and echoes", "functional/output comes over the tunnel",
	"functional/second operator shares the tunnel", "functional/reload resumes the terminal", "functional/custom port is reachable",
	"functional/disconnect cuts at once", "functional/status and its alias agree",
	"security/no endpoint without a session", "security/foreign host name is refused", "security/cross-origin WebSocket is refused",
	"security/wrong, expired and used codes are refused", "security/replayed token is refused and adds no peer", "security/unlisted port is closed",
	"security/agent cannot reach the engine's services", "security/agent cannot reach another agent", "security/agent refuses a wrong pin",
	"security/revoked device is cut and refused", "security/secrets are in no log, database or answer", "security/files are for their owner alone",
	"resilience/tunnel survives a lost channel", "resilience/tunnel stays down after an agent's restart",
	"resilience/engine's restart ends tunnels and keeps agents", "resilience/idle tunnel ends", "resilience/taken UDP port refuses tunnels with a reason",
	"logging/every end has one reason everywhere", "logging/audit trail verifies", "logging/tampering with a copy is found",
}

// selftestIn reads the one JSON object of a self-test, and looks whether it is whole.
func selftestIn(t *testing.T, out []byte, code int, link wg.Mode) selftest.Report {
	t.Helper()
	var r selftest.Report
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("exit %d: %v: %q", code, err, out)
	}
	if d.More() {
		t.Error("there is more than one object on standard output")
	}
	want := slices.Clone(mustCheck)
	if link == wg.TUN {
		want = append(want, "resilience/deleted link is made again", "resilience/flushed firewall is repaired")
	}
	var have []string
	for _, c := range r.Checks {
		have = append(have, c.Group+"/"+c.Name)
		if c.Detail == "" || !c.OK && c.Hint == "" {
			t.Errorf("%+v does not say what was seen, or what to do", c)
		}
		if !c.OK {
			t.Logf("%s %s: %s → %s", c.Group, c.Name, c.Detail, c.Hint)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the checks are %q, want %q", have, want)
	}
	if r.Link != string(link) || r.Reason == "" || r.Version == "" || r.Host.Kernel == "" || r.Took <= 0 || r.OK != (r.Failed() == 0) || r.OK != (code == exitDone) {
		t.Errorf("exit %d of %+v", code, r)
	}
	return r
}

// leftIn are the files that a self-test has left in its temporary folder.
func leftIn(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left in %s: %v", left, dir, err)
	}
}

// TestSelftestInTheProcess walks the matrix without root and without a network of its own.
func TestSelftestInTheProcess(t *testing.T) {
	temporary, report := t.TempDir(), filepath.Join(t.TempDir(), "report")
	t.Setenv("TMPDIR", temporary)
	code, out, text := call(t, "selftest", "--json", "--link", "netstack", "--report", report)
	if r := selftestIn(t, []byte(out), code, wg.Netstack); !r.OK || strings.Contains(text, "functional") {
		t.Errorf("exit %d: %s", code, text)
	}
	leftIn(t, temporary)
	reportIn(t, report)
	if code, _, text := call(t, "selftest", "--link", "netstack", "--report", report); code != exitFailed || !strings.Contains(text, "already") {
		t.Errorf("over a report: exit %d: %s", code, text)
	}
}

// reportIn looks at the files of a report.
func reportIn(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"validation-report.json", "validation-report.md", "support.zip"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "validation-report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Borealis validation report", "## Functional", "## Security", "## Resilience", "## Logging", "| idle tunnel ends | pass |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report for people lacks %q:\n%s", want, text)
		}
	}
	bundle, err := zip.OpenReader(filepath.Join(dir, "support.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	var names []string
	for _, f := range bundle.File {
		names = append(names, f.Name)
	}
	for _, want := range []string{"doctor.txt", "logs/engine.log", "logs/agent-a.log", "logs/agent-b.log", "audit.jsonl"} {
		if !slices.Contains(names, want) {
			t.Errorf("the bundle holds %q and not %q", names, want)
		}
	}
}

// asProgram makes this test's own program the one that a self-test starts inside.
func asProgram(t *testing.T) { t.Setenv(doomedAs, "engine") }

// TestSelftestInItsOwnNetwork walks the matrix with this host's TUN and packet filter, in a
// network that is gone afterwards.
func TestSelftestInItsOwnNetwork(t *testing.T) {
	nstest.TUN(t)
	if _, err := doctor.Program(t.Context(), "iptables", "--version"); err != nil {
		nstest.Skip(t, err.Error())
	}
	temporary, before := t.TempDir(), hostNetwork(t)
	t.Setenv("TMPDIR", temporary)
	asProgram(t)
	code, out, text := call(t, "selftest", "--json", "--link", "tun")
	if code != exitDone && strings.Contains(text, "makes no network of its own") {
		nstest.Skip(t, text)
	}
	if r := selftestIn(t, []byte(out), code, wg.TUN); !r.OK {
		t.Errorf("exit %d: %s", code, text)
	}
	leftIn(t, temporary)
	if after := hostNetwork(t); after != before {
		t.Errorf("the host's network was\n%s\nand is\n%s", before, after)
	}
}

// hostNetwork is what a self-test must not change.
func hostNetwork(t *testing.T) string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range links {
		b.WriteString(l.Name + " ")
	}
	return b.String() + doctor.Rules(t.Context())
}

// asNobody prepares this test's program to run as a user that owns nothing.
func asNobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "borealis")
	if out, err := exec.Command("cp", self, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(copied, args...)
	cmd.Dir, cmd.Env = dir, []string{doomedAs + "=engine", "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

// TestSelftestAsAnybody is what a user without any right sees: the self-test takes what it gets,
// and says so.
func TestSelftestAsAnybody(t *testing.T) {
	t.Parallel()
	cmd := asNobody(t, "selftest", "--json")
	var text bytes.Buffer
	cmd.Stderr = &text
	out, err := cmd.Output()
	code := exitDone
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	}
	link := wg.Netstack
	if bytes.Contains(out, []byte(`"link":"tun"`)) {
		link = wg.TUN
	}
	if r := selftestIn(t, out, code, link); !r.OK || link == wg.Netstack && !strings.Contains(r.Reason, "TUN") && !strings.Contains(r.Reason, "network of its own") {
		t.Errorf("exit %d, %q: %s", code, r.Reason, text.String())
	}
	if left, _ := filepath.Glob(filepath.Join(cmd.Dir, "borealis-selftest-*")); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// TestSelftestFailsWithoutItsPort takes the UDP port away: the report says who has it, all
// that stands on it counts as failed, and so does the command.
func TestSelftestFailsWithoutItsPort(t *testing.T) {
	taken, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	temporary, report := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var text bytes.Buffer
	r, err := selftest.Run(t.Context(), selftest.Config{Link: wg.Netstack, UDPPort: taken.LocalAddr().(*net.UDPAddr).Port, Report: report, Stderr: &text})
	if err != nil {
		t.Fatal(err)
	}
	first := r.Checks[0]
	if r.OK || first.OK || !strings.Contains(first.Detail, "is used by") || !strings.Contains(text.String(), "FAIL functional engine starts") {
		t.Errorf("%+v\n%s", first, text.String())
	}
	for _, c := range r.Checks[1:] {
		if c.OK || !strings.HasPrefix(c.Detail, "not tried") || c.Hint == "" {
			t.Errorf("without a tunnel: %+v", c)
		}
	}
	if err := (&console{stderr: io.Discard}).tellSelftest(r, selftest.Config{}); err == nil || !strings.Contains(err.Error(), "checks failed") {
		t.Errorf("the command says %v", err)
	}
	if md, err := os.ReadFile(filepath.Join(report, "validation-report.md")); err != nil || !strings.Contains(string(md), "**FAIL**") {
		t.Errorf("the report: %s %v", md, err)
	}
	leftIn(t, temporary)
}

// TestSelftestFailsWithoutIPTables hides the programs of the packet filter from it.
func TestSelftestFailsWithoutIPTables(t *testing.T) {
	t.Parallel()
	nstest.TUN(t)
	if os.Geteuid() != 0 {
		nstest.Skip(t, "only root can hide programs from others")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary, empty := t.TempDir(), t.TempDir()
	script := `mount --make-rprivate / && for d in /usr/sbin /sbin; do mount --bind "$1" $(readlink -f $d); done && exec "$2" selftest --json --link tun`
	cmd := exec.Command("sh", "-c", script, "sh", empty, self)
	cmd.Env = []string{doomedAs + "=engine", "TMPDIR=" + temporary, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	var text bytes.Buffer
	cmd.Stderr = &text
	out, err := cmd.Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if errors.Is(err, syscall.EPERM) || failed && strings.Contains(text.String(), "mount:") {
		nstest.Skip(t, "nothing can be mounted here: "+text.String())
	}
	if !failed || exit.ExitCode() != exitFailed {
		t.Fatalf("it ended with %v: %s", err, text.String())
	}
	r := selftestIn(t, out, exitFailed, wg.TUN)
	if first := r.Checks[0]; first.OK || !strings.Contains(first.Detail, "iptables") {
		t.Errorf("%+v", first)
	}
	leftIn(t, temporary)
}

// TestSelftestIsInterrupted presses Ctrl-C in the middle of it.
func TestSelftestIsInterrupted(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"selftest", "--link", "netstack"}, io.Discard, in)
		in.Close()
	}()
	var seen bytes.Buffer
	b := make([]byte, 4096)
	for !strings.Contains(seen.String(), "connect brings a tunnel up") {
		n, err := out.Read(b)
		if err != nil {
			t.Fatalf("%v: %s", err, seen.String())
		}
		seen.Write(b[:n])
	}
	cancel()
	if _, err := io.Copy(&seen, out); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != exitFailed || strings.Contains(seen.String(), "checks passed") || strings.Contains(seen.String(), "FAIL") {
		t.Errorf("exit %d: %s", code, seen.String())
	}
	leftIn(t, temporary)
}
