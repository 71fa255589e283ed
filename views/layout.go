package views

import "github.com/a-h/templ"

// htmxConfig switches off what the content security policy forbids and what
// this console has no use for. 422 is swapped: a refused form comes back with
// its reasons. Other failures become toasts in the browser's script.
const htmxConfig = `{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,` +
	`"historyCacheSize":0,"historyRestoreAsHxRequest":false,"defaultSettleDelay":0,"responseHandling":[{"code":"204","swap":false},` +
	`{"code":"[23]..","swap":true},{"code":"422","swap":true},{"code":"[45]..","swap":false,"error":true}]}`

// documentTitle is what the browser's tab shows.
func documentTitle(title string) string {
	if title == "" {
		return "Borealis"
	}
	return plain(title) + " · Borealis"
}

// searchAttributes make the search field filter the list while one types when
// that list is on the page; elsewhere it leads there.
func searchAttributes(p Page) templ.Attributes {
	if p.View != "devices" {
		return nil
	}
	return templ.Attributes{
		"hx-get":         "/devices",
		"hx-trigger":     "input changed delay:150ms, search",
		"hx-target":      "#list",
		"hx-swap":        "outerHTML",
		"hx-sync":        "this:replace",
		"hx-replace-url": "true",
	}
}

// titled is the page under another title.
func (p Page) titled(title string) Page {
	p.Title = title
	return p
}
