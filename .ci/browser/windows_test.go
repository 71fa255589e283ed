package browser

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// A winePC runs the agent's own source as a Windows program, under Wine.
type winePC struct {
	t      *testing.T
	agent  string // the program
	prefix string // of Wine: its disk and its registry
	logs   string
}

// newWinePC builds the agent and installs Wine, or skips the test where there is none.
func newWinePC(t *testing.T) *winePC {
	t.Helper()
	if _, err := exec.LookPath("wine"); err != nil {
		t.Skip("wine is not installed: the Windows agent is tested under Wine (apt: wine wine64)")
	}
	dir := t.TempDir()
	p := &winePC{t: t, agent: filepath.Join(dir, "agent.exe"), prefix: filepath.Join(dir, "wine"), logs: dir}
	overlay := filepath.Join(dir, "overlay")
	p.tool("go", "run", "./.ci/wine/overlay", overlay)
	p.tool("env", "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0", "go", "build", "-overlay", filepath.Join(overlay, "overlay.json"),
		"-tags", "winetest", "-o", p.agent, "./cmd/borealis-agent")
	p.tool(filepath.Join(".ci", "wine", "prefix"))
	t.Cleanup(func() { p.tool("wineserver", "-k", "-w") })
	return p
}

// tool runs a program at the root of the checkout.
func (p *winePC) tool(name string, args ...string) {
	p.t.Helper()
	c := p.command(name, args...)
	c.Dir = filepath.Join("..", "..")
	if err := c.Run(); err != nil {
		p.t.Fatalf("%s %q: %v\n%s", name, args, err, p.output())
	}
}

// command is a program whose output goes to a file: what Wine leaves running would hold a pipe open.
func (p *winePC) command(name string, args ...string) *exec.Cmd {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.logs, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { log.Close() })
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = log, log
	c.Env = append(os.Environ(), "WINEPREFIX="+p.prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "DISPLAY=")
	return c
}

func (p *winePC) output() string {
	b, _ := os.ReadFile(filepath.Join(p.logs, "log"))
	return string(b)
}

// run enrols the agent and keeps it in touch until the test ends.
func (p *winePC) run(code string) {
	p.t.Helper()
	p.tool("wine", p.agent, "enrol", "--data", `C:\agent`, "--code", code)
	c := p.command("wine", p.agent, "run", "--data", `C:\agent`)
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = c.Process.Kill()
		if exit := (*exec.ExitError)(nil); !errors.As(c.Wait(), &exit) {
			p.t.Errorf("the agent ended by itself:\n%s", p.output())
		}
	})
}

// choose picks a shell for the next terminal.
func choose(shell string) chromedp.Action {
	return chromedp.Evaluate(`(() => { const s = document.querySelector('#terminal-shell'); s.value = '`+shell+`';
		s.dispatchEvent(new Event('change', {bubbles: true})); })()`, nil)
}

// TestWindowsTerminal types into the command prompt of a Windows agent: one shell that the
// device does not have is refused in words, another is chosen, and follows the window's size.
func TestWindowsTerminal(t *testing.T) {
	p := newWinePC(t)
	t.Setenv("BOREALIS_STEP_UP", "never")
	e := startEngine(t)
	var made struct{ Code string }
	e.run(t, &made, "code", "new", "--auto-approve", "--engine", e.listen, "--json")
	p.run(made.Code)
	var list struct {
		Devices []struct{ ID string } `json:"devices"`
	}
	e.run(t, &list, "device", "list", "--json")
	if len(list.Devices) != 1 {
		t.Fatalf("%d devices", len(list.Devices))
	}
	ctx, f := open(t)
	var said string
	do(t, ctx,
		emulation.SetDeviceMetricsOverride(1280, 800, 1, false),
		signIn(demo{URL: e.URL, Operator: e.Operator, Password: e.Password}),
		chromedp.Navigate(e.URL+"/devices/"+list.Devices[0].ID+"/powershell"),
		chromedp.WaitVisible(id("terminal-shell"), chromedp.ByQuery),
		until("window.borealisTerminal && document.body.innerText.includes('Online')"),
		choose("pwsh"),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		until("window.borealisTerminal.state === 'error'"),
		chromedp.Text("main", &said, chromedp.ByQuery),
	)
	if !strings.Contains(said, "PowerShell 7") {
		t.Errorf("of a shell that is not there the page says %q", said)
	}
	do(t, ctx,
		choose("cmd"),
		chromedp.Click(id("terminal-restart"), chromedp.ByQuery),
		until("window.borealisTerminal.state === 'connected'"),
		until(screen+`.includes('C:')`),
		chromedp.Focus(id("terminal-host")+" textarea", chromedp.ByQuery),
		typed("echo %BOREALIS_OPERATOR% & ver"),
		until(screen+`.includes('admin') && `+screen+`.includes('Microsoft Windows')`),
		emulation.SetDeviceMetricsOverride(900, 600, 1, false),
		until("window.borealisTerminal.cols < 130"),
	)
	screenshot(t, ctx, "windows.png")
	do(t, ctx, chromedp.Navigate(e.URL+"/devices/"+list.Devices[0].ID+"/summary"), emulation.SetDeviceMetricsOverride(1440, 1100, 1, false),
		until(`document.body.innerText.includes('Hardware & system')`))
	screenshot(t, ctx, "windows-summary.png")
	f.check(t)
}
