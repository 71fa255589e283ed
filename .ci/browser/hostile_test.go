package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// hostile are texts that break out of one context or another of a page.
var hostile = []string{
	`<script>window.hit=1</script>`,
	`"><script>window.hit=1</script>`,
	`'><img src=x onerror=window.hit=1>`,
	`<img src=x onerror=window.hit=1>`,
	`<svg/onload=window.hit=1>`,
	`<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>`,
	`<iframe srcdoc="<script>parent.hit=1</script>">`,
	`<details open ontoggle=window.hit=1>`,
	`</title><script>window.hit=1</script>`,
	`</textarea><script>window.hit=1</script>`,
	`</style><script>window.hit=1</script>`,
	`--><script>window.hit=1</script>`,
	`<a href="javascript:window.hit=1">x</a>`,
	`javascript:window.hit=1`,
	`" onmouseover="window.hit=1" autofocus onfocus="window.hit=1`,
	`' autofocus onfocus='window.hit=1`,
	`<body onload=window.hit=1>`,
	`<input autofocus onfocus=window.hit=1>`,
	`<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1>`,
	`<template><script>window.hit=1</script></template>`,
	`<div hx-on:load="window.hit=1" hx-get="/logout" hx-trigger="load">`,
	`<div data-hx-on::load="window.hit=1">`,
	`<base href="https://evil.example/">`,
	`<meta http-equiv="refresh" content="0;url=https://evil.example/">`,
	`<link rel=stylesheet href="https://evil.example/x.css">`,
	`<form action="https://evil.example/"><button>Sign in</button></form>`,
	`{{7*7}}${7*7}<%= 7*7 %>#{7*7}`,
	`<!--<img src="--><img src=x onerror=window.hit=1//">`,
	`<noscript><p title="</noscript><img src=x onerror=window.hit=1>">`,
	`&lt;script&gt;window.hit=1&lt;/script&gt;`,
	`\u003cscript\u003ewindow.hit=1\u003c/script\u003e`,
}

// TestHostileDevices puts each hostile text into each field that an agent fills in, and
// looks at every page that shows it: nothing may run, load, or become an element.
func TestHostileDevices(t *testing.T) {
	ctx, f := open(t)
	e := startEngine(t)
	var devices []string
	for _, text := range hostile {
		facts := make(map[string]string)
		for _, field := range []string{"hostname", "os", "os_version", "arch", "version"} {
			facts[field] = text
		}
		devices = append(devices, e.enrol(t, facts)) // waits for approval: shown in the queue
	}
	e.run(t, nil, "device", "approve", devices[0])
	do(t, ctx, signInAs(e.URL, e.Operator, e.Password))
	paths := []string{"/devices", "/tunnels", "/activity", "/enrolment", "/audit", "/operators"}
	for _, id := range devices {
		paths = append(paths, "/devices/"+id+"/summary", "/devices/"+id+"/activity")
	}
	for _, id := range devices[:3] {
		paths = append(paths, "/devices/"+id+"/config", "/devices/"+id+"/powershell")
	}
	for _, path := range paths {
		var found string
		do(t, ctx,
			chromedp.Navigate(e.URL+path),
			chromedp.WaitVisible("h1", chromedp.ByQuery),
			chromedp.Evaluate(`[
				window.hit ? "a script ran" : "",
				...[...document.querySelectorAll("iframe, base, math, [onerror], [onload], [onfocus], [onmouseover], [ontoggle], [onbegin], [srcdoc], a[href^='javascript:'], form[action^='http'], link[href^='http'], meta[http-equiv='refresh'], [hx-on\\:load]")].map(x => x.outerHTML.slice(0, 80)),
			].filter(x => x).join("; ")`, &found),
		)
		if found != "" {
			t.Errorf("%s: %s", path, found)
		}
	}
	f.check(t)
}

// signInAs signs in with a name and a password.
func signInAs(url, name, password string) chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.Navigate(url + "/login"),
		chromedp.WaitVisible(id("sign-in-form"), chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-name"), name, chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-password"), password, chromedp.ByQuery),
		chromedp.Click(id("sign-in-submit"), chromedp.ByQuery),
		chromedp.WaitVisible(`nav a[href="/devices"]`, chromedp.ByQuery),
	}
}
