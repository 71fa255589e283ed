package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A demo is the product running: "borealis demo" built from this checkout.
type demo struct {
	URL      string `json:"url"`
	Operator string `json:"operator"`
	Password string `json:"password"`
	DeviceID string `json:"device_id"`
}

func startDemo(t *testing.T, args ...string) demo {
	t.Helper()
	bin := buildBorealis(t)
	c := exec.Command(bin, append([]string{"demo", "--json", "--listen", "127.0.0.1:0", "--udp-port", "0"}, args...)...)
	c.Env = append(os.Environ(), "SHELL=/bin/sh", "PS1=$ ", "ENV=")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var d demo
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("the demo said %q: %v", line, err)
	}
	return d
}

// A fault is what a browser complains about: a broken policy, a failed load, an
// exception, or an error on its console.
type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *faults) check(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.list {
		t.Errorf("the browser complained: %s", s)
	}
}

// open starts a browser of its own, whose complaints are collected.
func open(t *testing.T) (context.Context, *faults) {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine: apt-get install chromium")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 800), chromedp.UserDataDir(profile(t)))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	quiet := chromedp.WithErrorf(func(string, ...any) {}) // the driver does not know every event of a newer browser
	ctx, cancel = chromedp.NewContext(ctx, quiet)
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // and wait for the browser's end
	f := &faults{}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			f.add("exception: %s", e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				f.add("console: %s", e.Args[0].Value)
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError {
				f.add("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
			}
		case *network.EventLoadingFailed:
			if e.BlockedReason != "" {
				f.add("blocked: %s", e.BlockedReason)
			}
		}
	})
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as this context, and not as one of an action
		t.Fatal(err)
	}
	do(t, ctx, log.Enable(), runtime.Enable(), network.Enable(), page.Enable())
	return ctx, f
}

// profile is a folder for a browser's own files. A browser's last process may still
// write there when the test is over, so removing it is not part of the test.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "borealis-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	for i, a := range actions {
		err := once(ctx, a)
		for again := 0; again < 5 && err != nil && strings.Contains(err.Error(), "Could not find node with given id"); again++ {
			err = once(ctx, a) // the engine drew the element anew between its being found and being used
		}
		if err != nil {
			screenshot(t, ctx, "failure.png")
			var terminal string
			_ = chromedp.Run(ctx, chromedp.Evaluate("window.borealisTerminal ? window.borealisTerminal.state + ': ' + window.borealisTerminal.text() : 'none'", &terminal))
			t.Fatalf("action %d: %v; terminal: %q", i+1, err, terminal)
		}
	}
}

// once does an action, which must not take for ever.
func once(ctx context.Context, a chromedp.Action) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	return chromedp.Run(ctx, a)
}

func id(name string) string { return `[data-testid="` + name + `"]` }

func signIn(d demo) chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.Navigate(d.URL + "/"),
		chromedp.WaitVisible(id("sign-in-form"), chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-name"), d.Operator, chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-password"), d.Password, chromedp.ByQuery),
		chromedp.Click(id("sign-in-submit"), chromedp.ByQuery),
		chromedp.WaitVisible(id("device-row"), chromedp.ByQuery),
	}
}

// until waits until an expression is true in the page.
func until(expression string) chromedp.Action {
	// At an interval: a page behind another one gets no animation frames.
	return chromedp.Poll(expression, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(30*time.Second))
}

const screen = "window.borealisTerminal.text()"

// press presses and releases one key. The driver's own KeyEvent would send a
// character a second time after the key was handled.
func press(key string, code int64, modifiers input.Modifier) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		down := input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithWindowsVirtualKeyCode(code).WithModifiers(modifiers)
		switch {
		case key == "Enter":
			down = down.WithText("\r")
		case modifiers == 0:
			down = down.WithText(key)
		}
		if err := down.Do(ctx); err != nil {
			return err
		}
		return input.DispatchKeyEvent(input.KeyUp).WithKey(key).WithWindowsVirtualKeyCode(code).WithModifiers(modifiers).Do(ctx)
	})
}

// typed presses the keys of a line, and Enter.
func typed(line string) chromedp.Tasks {
	var keys chromedp.Tasks
	for _, r := range line {
		keys = append(keys, press(string(r), 0, 0))
	}
	return append(keys, press("Enter", 13, 0))
}

// TestMainJob is the product as an operator meets it: sign in, open the device,
// connect, type, resize, reload, disconnect.
func TestMainJob(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx,
		emulation.SetDeviceMetricsOverride(1280, 800, 1, false),
		signIn(d),
		chromedp.Click(id("device-row")+" a", chromedp.ByQuery),
		chromedp.WaitVisible(id("tab-powershell"), chromedp.ByQuery),
		chromedp.Click(id("tab-powershell"), chromedp.ByQuery),
		chromedp.WaitVisible(id("terminal-host"), chromedp.ByQuery),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		until("window.borealisTerminal && window.borealisTerminal.state === 'connected'"),
		chromedp.Focus(id("terminal-host")+" textarea", chromedp.ByQuery),
		typed("echo $((6*7))"),
		until(screen+".includes('\\n42')"),
	)
	var wide, narrow int
	learnt := until(screen + ".trimEnd().endsWith(' ' + window.borealisTerminal.cols)") // the shell knows its size
	do(t, ctx,
		typed("clear; while :; do stty size; sleep 0.1; done"),
		learnt,
		chromedp.Evaluate("window.borealisTerminal.cols", &wide),
		emulation.SetDeviceMetricsOverride(900, 700, 1, false),
		until("window.borealisTerminal.cols < 130"),
		learnt,
		chromedp.Evaluate("window.borealisTerminal.cols", &narrow),
		emulation.SetDeviceMetricsOverride(1280, 800, 1, false),
		until("window.borealisTerminal.cols > 130"),
		learnt,
		press("c", 'C', input.ModifierCtrl),
	)
	if narrow >= wide {
		t.Errorf("%d columns in the narrow window, %d in the wide one", narrow, wide)
	}
	var before, after string
	do(t, ctx,
		typed("KEPT=yes; clear"),
		chromedp.Evaluate("window.borealisTerminal.id", &before),
		chromedp.Reload(),
		until("window.borealisTerminal && window.borealisTerminal.state === 'connected'"),
		chromedp.Evaluate("window.borealisTerminal.id", &after),
		chromedp.Focus(id("terminal-host")+" textarea", chromedp.ByQuery),
		typed("echo after-reload-$KEPT"),
		until(screen+".includes('after-reload-yes')"),
	)
	if before != after || before == "" {
		t.Errorf("terminal %q before the reload, %q after it", before, after)
	}
	for _, theme := range []string{"light", "dark"} {
		do(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
		screenshot(t, ctx, "terminal-"+theme+".png")
	}
	do(t, ctx,
		chromedp.Click(id("tab-summary"), chromedp.ByQuery),
		chromedp.WaitVisible(id("tunnel-card"), chromedp.ByQuery),
		chromedp.Click(id("tab-powershell"), chromedp.ByQuery),
		until("window.borealisTerminal.state === 'connected'"), // another tab of the page does not end it
		chromedp.Click(id("disconnect-button"), chromedp.ByQuery),
		until("document.querySelector('#device-head').dataset.tunnelState === 'ended'"),
		chromedp.WaitVisible(id("connect-button"), chromedp.ByQuery),
	)
	f.check(t)
}

// TestPagesInBothThemes looks at every page, light and dark, wide and narrow: nothing
// may be blocked by the policy, fail to load, or be wider than the window.
func TestPagesInBothThemes(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx, signIn(d))
	for _, path := range []string{
		"/devices", "/tunnels", "/activity", "/enrolment", "/audit", "/operators", "/account", "/verify", "/login",
		"/devices/" + d.DeviceID + "/summary", "/devices/" + d.DeviceID + "/config",
		"/devices/" + d.DeviceID + "/powershell", "/devices/" + d.DeviceID + "/timeline", "/devices/" + d.DeviceID + "/activity",
	} {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{1440, 390} {
				var over float64
				var title string
				do(t, ctx,
					emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
					emulation.SetDeviceMetricsOverride(width, 900, 1, width < 500),
					chromedp.Navigate(d.URL+path),
					chromedp.WaitVisible("h1", chromedp.ByQuery),
					chromedp.Evaluate("document.documentElement.scrollWidth - window.innerWidth", &over),
					chromedp.Title(&title),
				)
				if over > 0 {
					t.Errorf("%s, %s, %d wide: the page is %v pixels too wide", path, theme, width, over)
				}
				if !strings.HasSuffix(title, "Borealis") {
					t.Errorf("%s has the title %q", path, title)
				}
				screenshot(t, ctx, fmt.Sprintf("%s-%s-%d.png", strings.Trim(strings.ReplaceAll(strings.ReplaceAll(path, d.DeviceID, "device"), "/", "-"), "-"), theme, width))
			}
		}
	}
	f.check(t)
}

// screenshot keeps a picture when BOREALIS_SCREENSHOTS names a folder.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("BOREALIS_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	if err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&png)); err != nil {
		t.Errorf("picture %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
