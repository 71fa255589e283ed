package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestQueueInTheBrowser: who comes to wait appears on the open page, and a click decides.
func TestQueueInTheBrowser(t *testing.T) {
	ctx, f := open(t)
	e := startEngine(t)
	one := e.enrol(t, map[string]string{"hostname": "PC-ONE", "machine": "m1"}, "--site", "Oslo")
	do(t, ctx, signInAs(e.URL, e.Operator, e.Password),
		chromedp.Navigate(e.URL+"/enrolment"),
		chromedp.WaitVisible(id("pending"), chromedp.ByQuery),
		until(`document.querySelector('[data-testid="pending"]').dataset.waiting === "1"`),
		until(`document.querySelector('[data-testid="words"]').textContent.trim().split(" ").length === 6`),
	)
	e.run(t, nil, "device", "approve", one)

	two := e.enrol(t, map[string]string{"hostname": "PC-TWO", "machine": "m1"}, "--site", "Oslo") // the same machine with another key
	do(t, ctx,
		until(`document.querySelector('#waiting-`+two+` [data-testid="known"]') !== null`),
		until(`document.querySelector('#nav-enrolment .badge').textContent.trim().startsWith("1")`),
		chromedp.Click(`#replace-button-`+two, chromedp.ByQuery),
		chromedp.WaitVisible(`#confirm[open]`, chromedp.ByQuery),
		until(`document.getElementById("confirm-title").textContent.includes("PC-ONE")`),
		chromedp.Click(`#confirm-ok`, chromedp.ByQuery),
		until(`document.querySelector('[data-testid="pending"]').dataset.waiting === "0"`),
		chromedp.Navigate(e.URL+"/devices/"+one+"/summary"),
		chromedp.WaitVisible(`h1`, chromedp.ByQuery),
		until(`document.querySelector('[data-testid="state-pill"]').textContent.trim() === "Revoked"`),
		chromedp.Navigate(e.URL+"/devices/"+two+"/summary"),
		chromedp.WaitVisible(`#device-menu-button`, chromedp.ByQuery),
		chromedp.Click(`#device-menu-button`, chromedp.ByQuery),
		chromedp.Click(`#device-lock-submit`, chromedp.ByQuery), // without a reason: the menu stays
		until(`document.querySelector("#device-menu[open]") !== null && document.activeElement.id === "device-lock-reason"`),
		chromedp.SendKeys(`#device-lock-reason`, "stolen laptop", chromedp.ByQuery),
		chromedp.Click(`#device-lock-submit`, chromedp.ByQuery),
		chromedp.WaitVisible(`#confirm[open]`, chromedp.ByQuery),
		chromedp.Click(`#confirm-ok`, chromedp.ByQuery),
		chromedp.WaitVisible(id("standing-device-lock"), chromedp.ByQuery),
		chromedp.Click(id("unlock-button"), chromedp.ByQuery),
		until(`document.querySelector('[data-testid="standing-device-lock"]') === null`),
		chromedp.Navigate(e.URL+"/enrolment"),
		chromedp.WaitVisible(id("sites"), chromedp.ByQuery),
		chromedp.Click(`#site-lock-0 summary`, chromedp.ByQuery),
		chromedp.SendKeys(`#site-lock-form-0-reason`, "audit", chromedp.ByQuery),
		chromedp.Click(`#site-lock-form-0-submit`, chromedp.ByQuery),
		chromedp.WaitVisible(`#confirm[open]`, chromedp.ByQuery),
		chromedp.Click(`#confirm-ok`, chromedp.ByQuery),
		chromedp.WaitVisible(id("site-locked"), chromedp.ByQuery),
		chromedp.Click(id("site-unlock"), chromedp.ByQuery),
		until(`document.querySelector('[data-testid="site-locked"]') === null`),
	)
	f.check(t)
}

// TestOperatorsInTheBrowser: an operator is added, locked and removed by hand.
func TestOperatorsInTheBrowser(t *testing.T) {
	ctx, f := open(t)
	d := startDemo(t)
	do(t, ctx, signIn(d),
		chromedp.Navigate(d.URL+"/operators"),
		chromedp.WaitVisible(id("operator-form"), chromedp.ByQuery),
		chromedp.SendKeys(`#operator-name`, "jon", chromedp.ByQuery),
		chromedp.Click(`#new-scope-some`, chromedp.ByQuery),
		chromedp.SendKeys(`#new-site-other`, "Oslo", chromedp.ByQuery),
		chromedp.Click(`#operator-add`, chromedp.ByQuery),
		chromedp.WaitVisible(id("password-string"), chromedp.ByQuery),
		until(`[...document.querySelectorAll('[data-testid="operator-row"]')].some(r => r.dataset.operator === "jon" && r.textContent.includes("Oslo"))`),
		chromedp.Click(`[data-operator="jon"] a`, chromedp.ByQuery),
		chromedp.WaitVisible(id("role-form"), chromedp.ByQuery),
		until(`document.title.startsWith("jon")`),
		chromedp.Click(id("operator-lock-button"), chromedp.ByQuery),
		chromedp.SendKeys(`#operator-lock-reason`, "on leave", chromedp.ByQuery),
		chromedp.Click(`#operator-lock-submit`, chromedp.ByQuery),
		chromedp.WaitVisible(`#confirm[open]`, chromedp.ByQuery),
		chromedp.Click(`#confirm-ok`, chromedp.ByQuery),
		chromedp.WaitVisible(id("operator-lock"), chromedp.ByQuery),
		chromedp.Click(id("operator-unlock"), chromedp.ByQuery),
		chromedp.WaitVisible(id("operator-lock-button"), chromedp.ByQuery),
		chromedp.Click(id("password-reset"), chromedp.ByQuery),
		chromedp.WaitVisible(`#confirm[open]`, chromedp.ByQuery),
		chromedp.Click(`#confirm-ok`, chromedp.ByQuery),
		chromedp.WaitVisible(id("password-string"), chromedp.ByQuery),
		chromedp.SendKeys(`#remove-name`, "jon", chromedp.ByQuery),
		chromedp.Click(`#operator-remove`, chromedp.ByQuery),
		chromedp.WaitVisible(id("operator-form"), chromedp.ByQuery),
		until(`document.querySelector('[data-operator="jon"]') === null`),
	)
	f.check(t)
}
