//go:build linux

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent/release"
	"borealis/tunnel/wg/nstest"
)

// A pc is a Windows computer behind a cable, as far as Wine is one. What runs on it is the
// agent's own source, built for Windows on a standard library that forgives Wine a few things.
type pc struct {
	t      *testing.T
	host   *nstest.Host
	prefix string // of Wine: its disk and its registry
	power  *nstest.Process
	runs   int
}

// needWine skips a test where Wine, or what this needs beside it, is not installed.
func needWine(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range append(programs, "wine", "wineserver", "flock") {
		if _, err := exec.LookPath(name); err != nil {
			nstest.Skip(t, name+" is not installed: the Windows agent is tested under Wine (apt: wine wine64 mingw-w64 msitools wixl osslsigncode)")
			return
		}
	}
}

// newPC installs Wine on a host and switches it on.
func newPC(t *testing.T, host *nstest.Host) *pc {
	t.Helper()
	p := &pc{t: t, host: host, prefix: filepath.Join(t.TempDir(), "wine")}
	if out := p.start(exec.Command("../../.ci/wine/prefix")); out.code != 0 {
		t.Fatalf("make a Wine prefix: %d\n%s", out.code, out.text)
	}
	p.on()
	t.Cleanup(p.off)
	return p
}

// on switches the computer on: whatever starts automatically does.
func (p *pc) on() {
	p.t.Helper()
	cmd := p.command("wine", "cmd.exe", "/q", "/k", "rem", "power")
	in, err := cmd.StdinPipe() // it is held open, and with it the computer
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { in.Close() })
	p.power = p.host.Start(p.t, cmd)
	for len(p.processes("services.exe")) == 0 {
		select {
		case <-p.power.Done():
			p.t.Fatal("Wine did not start")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// off is the loss of power: no program notices. Only Wine's server may write the registry to
// the disk, which Windows does all the time.
func (p *pc) off() {
	server := p.processes("wineserver")
	for all := p.processes(""); len(all) > 0; all = p.processes("") {
		for _, id := range all {
			if !slices.Contains(server, id) {
				_ = syscall.Kill(id, syscall.SIGKILL) // it may be gone
			}
		}
		runtime.Gosched()
	}
	<-p.power.Done()
}

func (p *pc) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "WINEPREFIX="+p.prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "DISPLAY=")
	return cmd
}

// result is how a program ended, and all that it wrote.
type result struct {
	code int
	text string
}

// start runs a program of the host to its end. Its output goes to a file, for what it leaves
// running would hold a pipe open.
func (p *pc) start(cmd *exec.Cmd) result {
	p.t.Helper()
	if cmd.Env == nil {
		cmd.Env = p.command("").Env
	}
	p.runs++
	path := filepath.Join(filepath.Dir(p.prefix), "run"+strconv.Itoa(p.runs))
	file, err := os.Create(path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	process := p.host.Start(p.t, cmd)
	select {
	case <-process.Done():
	case <-time.After(3 * time.Minute):
		_ = process.Signal(syscall.SIGKILL)
		<-process.Done()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), string(text)}
}

// run runs a Windows program, which must end with a code.
func (p *pc) run(t *testing.T, want int, program string, args ...string) string {
	t.Helper()
	out := p.start(p.command("wine", append([]string{program}, args...)...))
	if out.code != want {
		t.Fatalf("%s %q ends with %d, not %d:\n%s", program, args, out.code, want, out.text)
	}
	return out.text
}

// disk is a path on drive C as the host has it.
func (p *pc) disk(path ...string) string {
	return filepath.Join(append([]string{p.prefix, "drive_c"}, path...)...)
}

// has reports whether the computer's registry has a key.
func (p *pc) has(key string) bool {
	p.t.Helper()
	return p.start(p.command("wine", "reg", "query", key)).code == 0
}

// processes are the ids of the computer's processes whose command line has a text.
func (p *pc) processes(text string) []int {
	p.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		p.t.Fatal(err)
	}
	var ids []int
	for _, dir := range all {
		env, _ := os.ReadFile(filepath.Join(dir, "environ")) // gone, or not ours
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if len(line) > 0 && bytes.Contains(env, []byte("WINEPREFIX="+p.prefix+"\x00")) && bytes.Contains(line, []byte(text)) {
			id, _ := strconv.Atoi(filepath.Base(dir))
			ids = append(ids, id)
		}
	}
	return ids
}

// A builder builds agents for Windows, and engines that hand them out.
type builder struct {
	t       *testing.T
	dir     string
	overlay string
	key     ed25519.PrivateKey // the publisher's
}

func newBuilder(t *testing.T) *builder {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{t: t, dir: t.TempDir(), key: key}
	b.overlay = filepath.Join(b.dir, "overlay", "overlay.json")
	b.tool(nil, "run", "../../.ci/wine/overlay", filepath.Dir(b.overlay))
	return b
}

// tool runs the go command.
func (b *builder) tool(env []string, args ...string) {
	b.t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("go %q: %v\n%s", args, err, out)
	}
}

// agent builds the agent of a release.
func (b *builder) agent(version string, sequence int64) (path string) {
	b.t.Helper()
	path = filepath.Join(b.dir, "agent-"+version+".exe")
	b.tool([]string{"GOOS=windows", "GOARCH=amd64"}, "build", "-overlay", b.overlay, "-tags", "winetest", "-trimpath", "-buildvcs=false",
		"-ldflags", b.stamp(version, sequence), "-o", path, "../borealis-agent")
	return path
}

// stamp is what makes a program one of a release.
func (b *builder) stamp(version string, sequence int64) string {
	const at = " -X borealis/agent/release."
	public := base64.StdEncoding.EncodeToString(b.key.Public().(ed25519.PublicKey))
	return "-s -w" + at + "version=" + version + at + "sequence=" + strconv.FormatInt(sequence, 10) + at + "publisher=" + public
}

// engine builds the engine of a release into a folder, with the agent for Windows inside.
func (b *builder) engine(bin, version string, sequence int64, agent string) {
	b.t.Helper()
	program, err := os.ReadFile(agent)
	if err != nil {
		b.t.Fatal(err)
	}
	const name = "borealis-agent-windows-amd64.exe"
	manifest, err := release.Sign(release.Manifest{
		Version: version, Sequence: sequence, Released: time.Now().UTC().Truncate(time.Second),
		Files: []release.File{{OS: "windows", Arch: "amd64", Name: name, SHA256: hash(program), Size: int64(len(program))}},
	}, b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	signed := filepath.Join(b.dir, "manifest-"+version)
	if err := os.WriteFile(signed, []byte(manifest), 0o600); err != nil {
		b.t.Fatal(err)
	}
	files, err := filepath.Abs("../../static/downloads/files")
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(files, name): agent, filepath.Join(files, "manifest"): signed,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	overlay := filepath.Join(b.dir, "engine-"+version+".json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.tool(nil, "build", "-overlay", overlay, "-ldflags", b.stamp(version, sequence), "-o", filepath.Join(bin, "borealis"), ".")
}

// hash is the SHA-256 of something in hexadecimal.
func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// rss is the resident memory of a process in MiB.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(v)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// newFleetOfOne is an engine of a release, on a TUN where the test is, and a Windows computer
// behind a cable, with nothing of ours on it.
func newFleetOfOne(t *testing.T, b *builder) (*fleet, *pc) {
	t.Helper()
	f := &fleet{t: t, bin: t.TempDir(), data: t.TempDir(), host: nstest.Here(t)}
	away := nstest.NewHost(t, "pc")
	nstest.Join(t, f.host, netip.MustParsePrefix("192.0.2.1/24"), away, netip.MustParsePrefix("192.0.2.2/24"))
	p := newPC(t, away)
	b.engine(f.bin, "1.0.0", 1, b.agent("1.0.0", 1))
	f.run("init", "--data", f.data)
	f.startEngine()
	return f, p
}
