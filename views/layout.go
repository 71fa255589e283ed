package views

import (
	"strings"

	"github.com/a-h/templ"
)

// htmxConfig switches off what the content security policy forbids and what
// this console has no use for. 422 and 412 are swapped: a refused form comes back
// with its reasons. Other failures become toasts in the browser's script.
const htmxConfig = `{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,` +
	`"historyCacheSize":0,"historyRestoreAsHxRequest":false,"defaultSettleDelay":0,"responseHandling":[{"code":"204","swap":false},` +
	`{"code":"[23]..","swap":true},{"code":"4(12|22)","swap":true},{"code":"[45]..","swap":false,"error":true}]}`

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

// sheets are the style sheets that the page needs beyond the ones of every page.
func (p Page) sheets() []string {
	switch {
	case strings.HasPrefix(p.View, "device:"):
		return []string{"ports.css", "people.css", "inventory.css", "why.css", "terminal.css"}
	case p.Section == "enrolment", p.Section == "operators":
		return []string{"people.css"}
	}
	return nil
}

// titled is the page under another title.
func (p Page) titled(title string) Page {
	p.Title = title
	return p
}
