package views

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// TestWindowsCommand spells out the line that administrators paste.
func TestWindowsCommand(t *testing.T) {
	t.Parallel()
	v := cannedEnrolment()
	amd64, arm64 := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	want := "& { $arch = [Environment]::GetEnvironmentVariable('PROCESSOR_ARCHITECTURE', 'Machine'); " +
		"$sha256 = @{ AMD64 = '" + amd64 + "'; ARM64 = '" + arm64 + "' }[$arch]; " +
		`if (-not $sha256) { throw "This engine has no agent for Windows on $arch." }; ` +
		`$exe = Join-Path $env:TEMP "$([guid]::NewGuid()).exe"; ` +
		"try { curl.exe -fsSLk --retry 3 -o $exe ('https://[::1]:8443/downloads/borealis-agent-windows-' + $arch.ToLower() + '.exe'); " +
		"if ($LASTEXITCODE) { throw 'The download failed. Nothing was installed.' }; " +
		"if ((Get-FileHash $exe -Algorithm SHA256).Hash -ne $sha256) { throw 'The download is not the agent that the console named. Nothing was installed.' }; " +
		"& $exe install --code '" + v.New + "' } finally { Remove-Item $exe -ErrorAction SilentlyContinue } }"
	if diff := cmp.Diff(want, v.windowsCommand()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	v.Agents = v.Agents[1:] // a build for ARM alone
	if got := v.windowsCommand(); !strings.Contains(got, "@{ ARM64 = '"+arm64+"' }[$arch]") {
		t.Error(got)
	}
	v.Agents = v.Agents[1:] // and for Linux alone
	if got, want := v.windowsCommand(), `.\borealis-agent.exe install --code '`+v.New+"'"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLinuxCommand(t *testing.T) {
	t.Parallel()
	v := cannedEnrolment()
	want := `( f=$(mktemp) && trap 'rm -f "$f"' EXIT && case $(uname -m) in x86_64) a=amd64 s='` + strings.Repeat("c3", 32) + `';; ` +
		`*) echo "This engine has no agent for Linux on $(uname -m)." >&2; false;; esac && ` +
		`curl -fsSLk --retry 3 -o "$f" 'https://[::1]:8443/downloads/borealis-agent-linux-'"$a" && ` +
		`echo "$s  $f" | sha256sum -c && install -m 755 "$f" /usr/local/bin/borealis-agent ) && ` + "\\\n" +
		"/usr/local/bin/borealis-agent enrol --data /var/lib/borealis-agent --code '" + v.New + "' && \\\n" +
		"/usr/local/bin/borealis-agent run --data /var/lib/borealis-agent"
	if diff := cmp.Diff(want, v.linuxCommand()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	v.Agents = v.Agents[:2]
	if got := v.linuxCommand(); !strings.HasPrefix(got, "borealis-agent enrol ") || strings.Contains(got, "curl") {
		t.Error(got)
	}
}

// TestCommandsQuote: nothing in a code or an address ends the text that it stands in.
func TestCommandsQuote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain": "'plain'", "": "''", "it's": "'it''s'", "$x `n \"q\"": "'$x `n \"q\"'", "‘a’‚b‛": "'‘‘a’’‚‚b‛‛'",
	} {
		if got := powerShellQuote(text); got != want {
			t.Errorf("%q in PowerShell: %s, want %s", text, got, want)
		}
	}
	if got, want := shellQuote("it's"), `'it'\''s'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	v := Enrolment{Address: "[fe80::1%eth0]:8443"}
	if got, want := v.download("x"), "https://[fe80::1%25eth0]:8443/downloads/x"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestEnrolmentWays: Windows comes first and is open; what is copied is what is shown.
func TestEnrolmentWays(t *testing.T) {
	t.Parallel()
	v := cannedEnrolment()
	root := parse(t, EnrolmentPage(cannedPage(), v))
	ways := elements(root, named("details"))
	var shown []string
	for _, w := range ways {
		id, _ := attribute(w, "data-testid")
		if _, open := attribute(w, "open"); open {
			id += " open"
		}
		if strings.HasPrefix(id, "way-") {
			shown = append(shown, id)
		}
	}
	if diff := cmp.Diff([]string{"way-windows open", "way-linux"}, shown); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for testid, command := range map[string]string{"windows-command": v.windowsCommand(), "linux-command": v.linuxCommand()} {
		pre := one(t, root, testid)
		if got := pre.FirstChild.Data; got != command {
			t.Errorf("%s shows %q", testid, got)
		}
		if n := len(elements(root, with("data-copy", command))); n != 1 {
			t.Errorf("%d buttons copy %s, want 1", n, testid)
		}
	}
	if having(root, "way-windows") == 1 && strings.Contains(text(one(t, root, "way-windows")), "built without") {
		t.Error("an agent that is there is said to be missing")
	}
	v.Agents = nil
	root = parse(t, EnrolmentPage(cannedPage(), v))
	for _, way := range []string{"way-windows", "way-linux"} {
		if got := text(one(t, root, way)); !strings.Contains(got, "built without the agent") || !strings.Contains(got, `make build`) {
			t.Errorf("%s does not say what is missing and what to do: %s", way, got)
		}
	}
}

// TestAgentFiles: the files with their hashes are for everybody, the drivers for those
// who can do something about them.
func TestAgentFiles(t *testing.T) {
	t.Parallel()
	v := cannedEnrolment()
	v.Drivers[1].Problem, v.Drivers[2].Arch = "It is not signed.", "arm64"
	root := parse(t, EnrolmentPage(cannedPage(), v))
	var rows []string
	for _, n := range elements(root, with("data-testid", "agent-file")) {
		rows = append(rows, text(n))
	}
	want := []string{
		"borealis-agent-windows-amd64.exe Windows on amd64 14.0 MiB " + strings.Repeat("a1", 32),
		"borealis-agent-windows-arm64.exe Windows on arm64 13.0 MiB " + strings.Repeat("b2", 32),
		"borealis-agent-linux-amd64 Linux on amd64 14.0 MiB " + strings.Repeat("c3", 32),
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	links := elements(one(t, root, "agent-files"), func(n *html.Node) bool { _, ok := attribute(n, "download"); return ok })
	if len(links) != 3 {
		t.Fatalf("%d links, want 3", len(links))
	}
	if href, _ := attribute(links[0], "href"); href != "/downloads/borealis-agent-windows-amd64.exe" {
		t.Errorf("the first leads to %s", href)
	}
	rows = nil
	for _, n := range elements(root, with("data-testid", "driver")) {
		rows = append(rows, text(n))
	}
	want = []string{
		"Intel, AMD Offered 1.0 MiB " + strings.Repeat("d", 64),
		"ARM Not usable It is not signed.",
		"ARM None Put wireguard.dll into Dependencies/VPN_Tunnel_Adapter/arm64 in the engine's data folder.",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("drivers (-want +got)\n%s", diff)
	}
	v.CanManage, v.New = false, ""
	viewer := parse(t, EnrolmentPage(cannedPage(), v))
	if having(viewer, "agent-files") != 1 || having(viewer, "drivers") != 0 {
		t.Error("somebody without the right sees drivers, or no agents")
	}
}
