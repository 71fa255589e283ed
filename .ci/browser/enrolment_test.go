package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// awaited makes an expression's promise a value.
func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// TestEnrolmentInTheBrowser: a code is made, the line for Windows is there and goes to the
// clipboard as it is, the one for Linux is a key press away, and what the page says of the
// agents is true. It fits in every width.
func TestEnrolmentInTheBrowser(t *testing.T) {
	ctx, f := open(t)
	e := startEngine(t)
	var line, copied, open string
	do(t, ctx, signInAs(e.URL, e.Operator, e.Password),
		browser.SetPermission(&browser.PermissionDescriptor{Name: "clipboard-read"}, browser.PermissionSettingGranted).WithOrigin(e.URL),
		browser.SetPermission(&browser.PermissionDescriptor{Name: "clipboard-write"}, browser.PermissionSettingGranted).WithOrigin(e.URL),
		chromedp.Navigate(e.URL+"/enrolment"),
		chromedp.WaitVisible(id("drivers"), chromedp.ByQuery),
		chromedp.Click(id("code-submit"), chromedp.ByQuery),
		chromedp.WaitVisible(id("windows-command"), chromedp.ByQuery),
		chromedp.Text(id("windows-command"), &line, chromedp.ByQuery),
		chromedp.Click(id("way-windows")+` [data-copy]`, chromedp.ByQuery),
		until(`document.querySelector('[data-testid="way-windows"] [data-copy]').textContent.includes("Copied")`),
		chromedp.Evaluate(`navigator.clipboard.readText()`, &copied, awaited),
		chromedp.Focus(id("way-linux")+` summary`, chromedp.ByQuery),
		press("Enter", 13, 0),
		chromedp.WaitVisible(id("linux-command"), chromedp.ByQuery),
		chromedp.Evaluate(`[...document.querySelectorAll(".way[open]")].map(w => w.dataset.testid).join()`, &open),
	)
	if line == "" || line != copied || strings.Contains(line, "\n") {
		t.Errorf("the line is %q, and the clipboard has %q", line, copied)
	}
	if open != "way-linux" {
		t.Errorf("open are %s", open)
	}
	const wrong = `(async () => {
		const wrong = [];
		for (const row of document.querySelectorAll('[data-testid="agent-file"]')) {
			const body = await (await fetch(row.querySelector("a").href)).arrayBuffer();
			const sum = [...new Uint8Array(await crypto.subtle.digest("SHA-256", body))].map(b => b.toString(16).padStart(2, "0")).join("");
			if (row.querySelector(".hash").textContent !== sum) wrong.push(row.textContent);
		}
		return wrong.join();
	})()`
	var bad string
	do(t, ctx, chromedp.Evaluate(wrong, &bad, awaited))
	if bad != "" {
		t.Errorf("not what the page says: %s", bad)
	}
	do(t, ctx, chromedp.Evaluate(`document.querySelectorAll(".way").forEach(way => { way.removeAttribute("name"); way.open = true; })`, nil))
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1440, 820, 390, 320} {
			var over float64
			do(t, ctx,
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
				emulation.SetDeviceMetricsOverride(width, 2000, 1, width < 500),
				chromedp.Evaluate("document.documentElement.scrollWidth - window.innerWidth", &over),
			)
			if over > 0 {
				t.Errorf("%s, %d wide: the page is %v pixels too wide", theme, width, over)
			}
			screenshot(t, ctx, fmt.Sprintf("code-%s-%d.png", theme, width))
		}
	}
	f.check(t)
}
