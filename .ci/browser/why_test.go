package browser

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// lookAround takes pictures of what is shown, light and dark, wide and narrow, and checks that it
// fits.
func lookAround(t *testing.T, show func(...chromedp.Action), picture func(string), name string) {
	t.Helper()
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1440, 390} {
			var over float64
			show(
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
				emulation.SetDeviceMetricsOverride(width, 1400, 1, width < 500),
				chromedp.Evaluate("document.documentElement.scrollWidth - window.innerWidth", &over),
			)
			if over > 0 {
				t.Errorf("%s, %s, %d wide: the page is %v pixels too wide", name, theme, width, over)
			}
			picture(name + "-" + theme + map[bool]string{true: "-narrow", false: ""}[width < 500] + ".png")
		}
	}
	show(emulation.SetDeviceMetricsOverride(1440, 900, 1, false))
}

// TestWhyNot: after a connection that could not come about the panel says by itself that UDP is
// blocked, and a person can ask again; the timeline has the attempt.
func TestWhyNot(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t, "--public-endpoint", "127.0.0.1:9") // nobody hears packets there
	show := func(actions ...chromedp.Action) { t.Helper(); do(t, ctx, actions...) }
	picture := func(name string) { t.Helper(); screenshot(t, ctx, name) }
	check := func(name string) string { return `document.querySelector('[data-check="` + name + `"]')` }
	show(
		signIn(d),
		chromedp.Navigate(d.URL+"/devices/"+d.DeviceID+"/summary"),
		chromedp.WaitVisible(id("doctor-button"), chromedp.ByQuery),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		until("document.querySelector('#device-head').dataset.tunnelState === 'peered'"),
		// While it comes up, somebody asks, and learns it long before the attempt is given up.
		chromedp.Click(id("doctor-button"), chromedp.ByQuery),
		until(check("handshake")+"?.dataset.ok === 'To mend' && "+check("handshake")+".textContent.includes('UDP port 9 is blocked')"),
		until("document.querySelector('#doctor-said').textContent.includes('handshake')"),
	)
	var state string
	show(chromedp.Evaluate("document.querySelector('#device-head').dataset.tunnelState", &state))
	if state != "peered" {
		t.Errorf("the tunnel is %s by the time that the panel knows", state)
	}
	lookAround(t, show, picture, "why-peered")
	show(
		until("document.querySelector('#device-head').dataset.tunnelState === 'ended'"),
		// The panel asks by itself.
		until(check("last tunnel")+"?.dataset.ok === 'To mend' && "+check("last tunnel")+".textContent.includes('UDP is blocked')"),
	)
	lookAround(t, show, picture, "why-failed")
	auditAccessibility(t, show)
	show(
		chromedp.Click(id("tab-timeline"), chromedp.ByQuery),
		until(`document.querySelector('[data-testid="timeline-tunnel"]')?.textContent.includes('no WireGuard handshake')`),
	)
	lookAround(t, show, picture, "timeline-failed")
	auditAccessibility(t, show)
	f.check(t)
}

// TestWhyNotUp: through a tunnel that works the panel tries the ports, and the timeline has its
// steps.
func TestWhyNotUp(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	show := func(actions ...chromedp.Action) { t.Helper(); do(t, ctx, actions...) }
	picture := func(name string) { t.Helper(); screenshot(t, ctx, name) }
	show(
		signIn(d),
		chromedp.Navigate(d.URL+"/devices/"+d.DeviceID+"/summary"),
		chromedp.WaitVisible(id("doctor-button"), chromedp.ByQuery),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		until("document.querySelector('#device-head').dataset.tunnelState === 'up'"),
		chromedp.Click(id("doctor-button"), chromedp.ByQuery),
		until(`document.querySelector('[data-check="shell banner"]')?.dataset.ok === 'OK'`),
	)
	lookAround(t, show, picture, "why-up")
	auditAccessibility(t, show)
	show(
		chromedp.Click(id("tab-timeline"), chromedp.ByQuery),
		until(`document.querySelector('[data-testid="timeline-tunnel"]')?.textContent.includes('Tunnel is up')`),
	)
	lookAround(t, show, picture, "timeline-up")
	auditAccessibility(t, show)
	f.check(t)
}

// auditAccessibility runs axe on the page, when BOREALIS_AXE names the file that holds it.
func auditAccessibility(t *testing.T, show func(...chromedp.Action)) {
	t.Helper()
	path := os.Getenv("BOREALIS_AXE")
	if path == "" {
		return
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found string
	show(
		chromedp.Evaluate(string(source)+";window.axeFound=null;axe.run().then(r=>{window.axeFound=r.violations.map(v=>v.id+': '+v.nodes.map(n=>n.target.join(' ')).join(', ')).join('; ')});0", nil),
		until("window.axeFound !== null"),
		chromedp.Evaluate("window.axeFound", &found),
	)
	if found = strings.TrimSpace(found); found != "" {
		t.Errorf("axe finds %s", found)
	}
}
