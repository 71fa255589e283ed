package browser

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tap presses a key that writes nothing, such as Tab.
func tap(key string, code int64) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		if err := input.DispatchKeyEvent(input.KeyRawDown).WithKey(key).WithCode(key).WithWindowsVirtualKeyCode(code).Do(ctx); err != nil {
			return err
		}
		return input.DispatchKeyEvent(input.KeyUp).WithKey(key).WithCode(key).WithWindowsVirtualKeyCode(code).Do(ctx)
	})
}

// tabTo presses Tab until an element has the keyboard.
func tabTo(id string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for range 80 {
			if err := tap("Tab", 9).Do(ctx); err != nil {
				return err
			}
			var at string
			if err := chromedp.Evaluate("document.activeElement.id", &at).Do(ctx); err != nil {
				return err
			}
			if at == id {
				return nil
			}
		}
		return fmt.Errorf("no Tab leads to %s", id)
	})
}

// space presses what has the keyboard.
func space() chromedp.Action { return press(" ", 32, 0) }

// says waits until an element holds a text.
func says(selector, text string) chromedp.Action {
	return until(fmt.Sprintf("(document.querySelector(%q)?.textContent ?? '').replace(/\\s+/g, ' ').includes(%q)", selector, text))
}

// is waits until a switch is on or off, as the page shows it and as the engine said it.
func is(row string, on bool) chromedp.Action {
	return until(fmt.Sprintf("(e => e && e.checked === %[2]v && e.defaultChecked === %[2]v)(document.getElementById('allow-%[1]s'))", row, on))
}

func keyboardAt(id string) chromedp.Action {
	return until(fmt.Sprintf("document.activeElement.id === %q", id))
}

// openConfig opens the tab of the allowed ports, ready for use.
func openConfig(d demo) chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.Navigate(d.URL + "/devices/" + d.DeviceID + "/config"),
		until("document.querySelector('#ports[data-live]') !== null"),
	}
}

const (
	proofLine = `[data-testid="proof-line"]`
	toastText = `[data-testid="toast"]`
)

// expected drops the complaints about answers that refuse on purpose.
func (f *faults) expected(status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rest []string
	for _, s := range f.list {
		if !strings.Contains(s, "status of "+status) {
			rest = append(rest, s)
		}
	}
	f.list = rest
}

// TestPorts changes the allowed ports of a live tunnel, with the keyboard alone where
// a mouse would be easier.
func TestPorts(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx, emulation.SetDeviceMetricsOverride(1280, 1000, 1, false), signIn(d), openConfig(d),
		says(proofLine, "Not checked: no tunnel is up"),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		says(proofLine, "others refused; checked"),
		says("#port-powershell", "answers"),
	)

	// A switch: it flips at once, says Saved, keeps the keyboard, and can be undone.
	do(t, ctx,
		tabTo("allow-vnc"), space(),
		is("vnc", false), keyboardAt("allow-vnc"),
		until("document.querySelector('#port-vnc').classList.contains('saved-now')"),
		says("#port-vnc", "Override"), says(toastText, "VNC is closed."),
		says(proofLine, "others refused; checked"),
		until("!document.querySelector('#port-vnc').classList.contains('saved-now')"),
		chromedp.Click(id("toast-do"), chromedp.ByQuery),
		is("vnc", true), says("#port-vnc", "Default"),
		keyboardAt("allow-vnc"),
	)

	// The message outlives the tab that it came from.
	do(t, ctx,
		chromedp.Click("#allow-vnc", chromedp.ByQuery), is("vnc", false),
		chromedp.Click(id("tab-summary"), chromedp.ByQuery), chromedp.WaitVisible(id("tunnel-card"), chromedp.ByQuery),
		until("!document.querySelector('#tunnel-card').textContent.includes('VNC')"),
		chromedp.Click(id("toast-do"), chromedp.ByQuery),
		chromedp.WaitVisible("#ports[data-live]", chromedp.ByQuery), is("vnc", true),
		says(proofLine, "others refused; checked"),
	)

	// Several at once: each is sent on top of the one before.
	do(t, ctx,
		chromedp.Evaluate("for (const row of ['vnc', 'webrtc', 'ssh']) document.getElementById('allow-' + row).click()", nil),
		is("vnc", false), is("webrtc", false), is("ssh", false),
		says(proofLine, "1 allowed: 1 answering"),
	)

	// For a while, with a reason, by keyboard.
	do(t, ctx,
		chromedp.Focus("#port-menu-button-rdp", chromedp.ByQuery), press("Enter", 13, 0),
		tabTo("port-for-rdp"), press("3", '3', 0), // 30 minutes
		tabTo("port-reason-rdp"), input.InsertText("patch night"),
		chromedp.Click("#port-open-rdp + span", chromedp.ByQuery),
		tabTo("port-save-rdp"), press("Enter", 13, 0),
		is("rdp", true), says("#port-rdp", "Until"), says("#port-rdp", "patch night"),
		until(`/Until \d\d:\d\d$/.test(document.querySelector('#port-rdp .tag').textContent.trim().replace(/\s+/g, ' '))`),
	)

	// A custom port: what is wrong is said at its field, and nothing typed is lost.
	do(t, ctx,
		chromedp.SendKeys("#add-label", "Web panel", chromedp.ByQuery),
		chromedp.SendKeys("#add-port", "70000", chromedp.ByQuery), press("Enter", 13, 0),
		says("#add-error", "There is no port 70000"),
		until("document.querySelector('#add-port').value === '70000' && document.querySelector('#add-label').value === 'Web panel'"),
		keyboardAt("add-port"),
		until("document.querySelector('#add-port').getAttribute('aria-invalid') === 'true'"),
		// The event stream draws the card anew meanwhile; that takes nothing away.
		chromedp.Evaluate("document.querySelector('#ports').dataset.old = ''", nil),
		chromedp.Click(id("ports-check"), chromedp.ByQuery),
		until("document.querySelector('#ports[data-live]:not([data-old])') !== null"),
		says(proofLine, "others refused; checked"),
		says("#add-error", "There is no port 70000"),
		until("document.querySelector('#add-port').value === '70000' && document.querySelector('#add-label').value === 'Web panel'"),
	)
	screenshot(t, ctx, "ports-refused.png")
	f.expected("422")
	do(t, ctx,
		chromedp.SetValue("#add-port", "8443", chromedp.ByQuery), chromedp.Focus("#add-port", chromedp.ByQuery), press("Enter", 13, 0),
		is("tcp-8443", true), says("#port-tcp-8443", "Web panel"),
		until("document.querySelector('#add-port').value === ''"),
		until(unlabelled+" === ''"),
		until(twice+" === ''"),
	)

	// Reset asks, because the custom port goes; undo brings all of it back.
	do(t, ctx,
		chromedp.Click(id("ports-reset"), chromedp.ByQuery),
		chromedp.WaitVisible("#confirm", chromedp.ByQuery), says("#confirm", "1 custom port is removed"),
		chromedp.Click("#confirm-ok", chromedp.ByQuery),
		is("ssh", true), until("!document.getElementById('port-tcp-8443')"),
		says(toastText, "The defaults are back."),
		chromedp.Click(id("toast-do"), chromedp.ByQuery),
		is("ssh", false), is("tcp-8443", true), says("#port-rdp", "patch night"),
	)
	f.expected("409")
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1440, 390} {
			do(t, ctx,
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
				emulation.SetDeviceMetricsOverride(width, 1100, 1, width < 500),
				openConfig(d), says(proofLine, "others refused; checked"),
				until("document.documentElement.scrollWidth <= window.innerWidth"),
			)
			screenshot(t, ctx, fmt.Sprintf("ports-%s-%d.png", theme, width))
			do(t, ctx, chromedp.Click("#ports-proof-summary", chromedp.ByQuery), chromedp.Click("#port-menu-button-rdp", chromedp.ByQuery),
				until("document.documentElement.scrollWidth <= window.innerWidth"))
			screenshot(t, ctx, fmt.Sprintf("ports-open-%s-%d.png", theme, width))
		}
	}
	f.check(t)
}

const (
	// unlabelled lists the controls of the page that have no name.
	unlabelled = `[...document.querySelectorAll('input:not([type=hidden]), select, button, summary')].filter(e =>
		!e.ariaLabel && !(e.labels?.length) && !e.textContent.trim() && e.id !== 'confirm-ok').map(e => e.outerHTML).join()`
	// twice lists the ids that stand in the page more than once.
	twice = `[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i).join()`
)

// TestPortsUnderAnOpenShell: closing the shell's port asks first, and cuts when agreed.
func TestPortsUnderAnOpenShell(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx, emulation.SetDeviceMetricsOverride(1280, 1000, 1, false), signIn(d),
		chromedp.Navigate(d.URL+"/devices/"+d.DeviceID+"/powershell"),
		chromedp.WaitVisible(id("connect-button"), chromedp.ByQuery),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		until("window.borealisTerminal && window.borealisTerminal.state === 'connected'"),
		chromedp.Click(id("tab-config"), chromedp.ByQuery),
		until("document.querySelector('#ports[data-live]') !== null"),
		chromedp.Focus("#allow-powershell", chromedp.ByQuery), space(),
		chromedp.WaitVisible("#confirm", chromedp.ByQuery),
		says("#confirm", "(the live terminal) on "),
	)
	screenshot(t, ctx, "ports-question.png")
	do(t, ctx,
		tap("Escape", 27),
		is("powershell", true), keyboardAt("allow-powershell"),
		until("window.borealisTerminal.state === 'connected'"),
		space(),
		chromedp.WaitVisible("#confirm", chromedp.ByQuery),
		chromedp.Click("#confirm-ok", chromedp.ByQuery),
		is("powershell", false),
		until("window.borealisTerminal.state !== 'connected'"),
		chromedp.Click(id("tab-powershell"), chromedp.ByQuery),
		until("document.querySelector('[data-tab=powershell]') !== null"),
	)
	screenshot(t, ctx, "ports-shell-closed.png")
	f.expected("409")
	f.check(t)
}

// TestPortsOfTwoOperators: a page that does not know of a change is told, and nothing
// is overwritten; one that follows the engine shows the change by itself.
func TestPortsOfTwoOperators(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx, emulation.SetDeviceMetricsOverride(1280, 1000, 1, false), signIn(d), openConfig(d),
		chromedp.SendKeys("#add-label", "half typed", chromedp.ByQuery),
	)
	deaf, cancel := chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Run(deaf); err != nil { // the page lives as long as this context
		t.Fatal(err)
	}
	do(t, deaf,
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := page.AddScriptToEvaluateOnNewDocument("window.EventSource = class { addEventListener() {} close() {} }").Do(ctx)
			return err
		}),
		openConfig(d),
	)
	do(t, ctx, chromedp.Click("#allow-webrtc", chromedp.ByQuery), is("webrtc", false))
	do(t, deaf,
		is("webrtc", true), // it does not know
		chromedp.Click("#allow-vnc", chromedp.ByQuery),
		says("#alerts", "changed the ports meanwhile; your change was not made"),
		is("vnc", true), is("webrtc", false),
	)
	screenshot(t, deaf, "ports-stale.png")
	do(t, deaf,
		chromedp.Click("#alerts "+id("toast-do"), chromedp.ByQuery),
		is("vnc", false), is("webrtc", false),
	)
	do(t, ctx,
		is("vnc", false), // by the event stream
		until("document.querySelector('#add-label').value === 'half typed'"),
		keyboardAt("allow-webrtc"),
	)
	f.check(t)
}
