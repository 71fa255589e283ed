package handlers

import (
	htmltext "html"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/static/downloads"
)

// madeCode makes a code on the Enrolment page and returns what the page says about it.
func (r *rig) madeCode() (page string) {
	r.t.Helper()
	a := r.browser("ann", access.Admin).post("/enrolment/codes", "uses=2&ttl=1h", part("enrolment")...)
	if a.StatusCode != http.StatusOK {
		r.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return a.body
}

// shownAs is the text of the element with a data-testid.
func shownAs(t *testing.T, page, testid string) string {
	t.Helper()
	_, rest, _ := strings.Cut(page, `data-testid="`+testid+`">`)
	text, _, found := strings.Cut(rest, "<")
	if !found {
		t.Fatalf("no %s in %s", testid, page)
	}
	return htmltext.UnescapeString(text)
}

// TestWindowsLineIsTrue: what the line downloads is there, and is what it says.
func TestWindowsLineIsTrue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	page := r.madeCode()
	line := shownAs(t, page, "windows-command")
	found := regexp.MustCompile(`@\{ AMD64 = '([0-9a-f]{64})' \}\[\$arch\].*\('https://` + regexp.QuoteMeta(r.address) + `(/downloads/borealis-agent-windows-)' \+ \$arch\.ToLower\(\) \+ '\.exe'\)`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("the line is %s", line)
	}
	a := r.stranger().do(http.MethodGet, found[2]+"amd64.exe", "")
	if a.StatusCode != http.StatusOK || sumOf(a.body) != found[1] {
		t.Errorf("%d: it is not the file with the hash %s", a.StatusCode, found[1])
	}
	if code := shownAs(t, page, "code-string"); !strings.Contains(line, "& $exe install --code '"+code+"' }") || strings.Contains(line, "\n") {
		t.Errorf("the line does not install with the code: %s", line)
	}
}

// TestLinuxLinesWork runs what the page says to paste, with an agent that only says what
// it is asked to do; and again when the engine's agent is not the one that was shown.
func TestLinuxLinesWork(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "curl", "sha256sum", "install", "mktemp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("this machine has no %s", tool)
		}
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the agent of this test is for amd64")
	}
	r := newRig(t)
	page := r.madeCode()
	code, lines := shownAs(t, page, "code-string"), shownAs(t, page, "linux-command")
	paste := func(lines string) (program, said string, err error) {
		t.Helper()
		program = filepath.Join(t.TempDir(), "borealis-agent")
		paste := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(lines, "/usr/local/bin/borealis-agent", program)) // #nosec G204 -- that is the test
		paste.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := paste.CombinedOutput()
		return program, string(out), err
	}
	program, said, err := paste(lines)
	want := "agent enrol --data /var/lib/borealis-agent --code " + code + "\nagent run --data /var/lib/borealis-agent\n"
	if err != nil || !strings.HasSuffix(said, want) {
		t.Errorf("%v: %s", err, said)
	}
	if body, err := os.ReadFile(program); err != nil || string(body) != agents[linuxAgent] {
		t.Errorf("installed is %q: %v", body, err)
	}
	for name, bad := range map[string]string{
		"another file":       strings.Replace(lines, sumOf(agents[linuxAgent]), sumOf("something else"), 1),
		"no such file":       strings.Replace(lines, "borealis-agent-linux-", "borealis-agent-plan9-", 1),
		"nobody listens":     strings.Replace(lines, r.address, "127.0.0.1:1", 1),
		"for other machines": strings.Replace(lines, "x86_64)", "aarch64)", 1),
	} {
		program, said, err := paste(bad)
		if err == nil || strings.Contains(said, "agent enrol") {
			t.Errorf("%s: it goes on: %s", name, said)
		}
		if _, err := os.Stat(program); err == nil {
			t.Errorf("%s: it is installed", name)
		}
	}
}

// TestNoAgents: a build without agents says so and what to do, and codes work.
func TestNoAgents(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, func(c *Config) {
		var err error
		if c.Downloads, err = downloads.New(os.DirFS(t.TempDir())); err != nil {
			t.Fatal(err)
		}
	})
	page := r.madeCode()
	if strings.Count(page, "built without the agent for") != 2 || !strings.Contains(page, "make build") {
		t.Error("nobody is told")
	}
	if line := shownAs(t, page, "windows-command"); line != `.\borealis-agent.exe install --code '`+shownAs(t, page, "code-string")+"'" {
		t.Errorf("the line is %s", line)
	}
	if a := r.stranger().do(http.MethodGet, "/downloads/", ""); a.StatusCode != http.StatusOK || a.body != "" {
		t.Errorf("the list: %d %q", a.StatusCode, a.body)
	}
}

// TestDriversOnThePage: an administrator sees what became of the file that was put there.
func TestDriversOnThePage(t *testing.T) {
	t.Parallel()
	kept := driver(t)
	for body, says := range map[string]string{kept: sumOf(kept), "nonsense": "It is no library for Windows, or not a whole one"} {
		r := newRigWith(t, withDriver(t, body))
		page := r.browser("ann", access.Admin).do(http.MethodGet, "/enrolment", "", "Accept", "text/html").body
		if !strings.Contains(page, says) || !strings.Contains(page, "VPN_Tunnel_Adapter/arm64") {
			t.Errorf("the page does not say %q, or not what is missing", says)
		}
	}
}
