package views

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"borealis/static"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// draw renders a component and returns its markup.
func draw(t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// parse renders a component and reads it as a browser does.
func parse(t *testing.T, c templ.Component) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(draw(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// elements are all elements below n that match.
func elements(n *html.Node, match func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && match(d) {
			found = append(found, d)
		}
	}
	return found
}

func named(names ...string) func(*html.Node) bool {
	return func(n *html.Node) bool { return slices.Contains(names, n.Data) }
}

// with matches elements by an attribute's value.
func with(key, value string) func(*html.Node) bool {
	return func(n *html.Node) bool { v, ok := attribute(n, key); return ok && v == value }
}

func attribute(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// The content security policy allows nothing inline, and text from elsewhere
// must not become markup.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	all := cannedPages()
	for name, c := range cannedParts() {
		all["part "+name] = c
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, n := range elements(parse(t, all[name]), func(*html.Node) bool { return true }) {
			checkInline(t, name, n)
		}
	}
}

func checkInline(t *testing.T, page string, n *html.Node) {
	t.Helper()
	switch n.Data {
	case "style", "iframe", "object", "embed", "base":
		t.Errorf("%s: <%s>", page, n.Data)
	case "img":
		if !isQR(n) {
			t.Errorf("%s: an image", page)
		}
	case "script":
		if src, ok := attribute(n, "src"); !ok || n.FirstChild != nil {
			t.Errorf("%s: inline script %q (src %q)", page, text(n), src)
		}
	}
	for _, a := range n.Attr {
		value := strings.ToLower(strings.TrimSpace(a.Val))
		switch {
		case a.Key == "style", a.Key == "srcdoc", a.Key == "formaction", a.Key == "hx-vals", a.Key == "hx-vars", a.Key == "hx-headers",
			strings.HasPrefix(a.Key, "on"), strings.HasPrefix(a.Key, "hx-on"):
			t.Errorf("%s: <%s %s=%q>", page, n.Data, a.Key, a.Val)
		case slices.Contains([]string{"href", "src", "action", "hx-get", "hx-post"}, a.Key) && !strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "#") && !isQR(n):
			t.Errorf("%s: <%s %s=%q> leads elsewhere", page, n.Data, a.Key, a.Val)
		}
	}
}

// Control characters, and marks that turn the writing direction, do not reach
// the page; only what its reader typed comes back as it was.
func TestTextIsMadePlain(t *testing.T) {
	t.Parallel()
	all := cannedPages()
	for name, c := range cannedParts() {
		all["part "+name] = c
	}
	for name, c := range all {
		if name == "login hostile" || name == "devices hostile" || strings.HasSuffix(name, "enrolment") {
			continue // forms that were filled in
		}
		if markup := draw(t, c); strings.ContainsAny(markup, "\x1b\x00\u202e") {
			i := strings.IndexAny(markup, "\x1b\x00\u202e")
			t.Errorf("%s: a control character after %q", name, markup[max(0, i-120):i])
		}
	}
}

// Each page is whole: one main heading, a title, landmarks, no id twice, and
// every reference between elements leads somewhere.
func TestPagesAreWellFormed(t *testing.T) {
	t.Parallel()
	for name, c := range cannedPages() {
		root := parse(t, c)
		if n := len(elements(root, named("h1"))); n != 1 {
			t.Errorf("%s: %d main headings", name, n)
		}
		if n := len(elements(root, named("main"))); n != 1 {
			t.Errorf("%s: %d main landmarks", name, n)
		}
		titles := elements(root, named("title"))
		if len(titles) != 1 || !strings.HasSuffix(text(titles[0]), "· Borealis") {
			t.Errorf("%s: %d titles", name, len(titles))
		}
		ids := map[string]int{}
		for _, n := range elements(root, func(*html.Node) bool { return true }) {
			if id, ok := attribute(n, "id"); ok {
				ids[id]++
			}
		}
		for id, n := range ids {
			if n > 1 || id == "" {
				t.Errorf("%s: id %q stands %d times", name, id, n)
			}
		}
		for _, key := range []string{"aria-labelledby", "aria-describedby", "for"} {
			for _, n := range elements(root, func(n *html.Node) bool { _, ok := attribute(n, key); return ok }) {
				if v, _ := attribute(n, key); ids[v] == 0 {
					t.Errorf("%s: %s=%q leads nowhere", name, key, v)
				}
			}
		}
	}
}

// Every control has a name, for people who cannot see its icon.
func TestControlsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range cannedPages() {
		for _, n := range elements(parse(t, c), named("a", "button", "input", "select", "summary", "textarea")) {
			kind, _ := attribute(n, "type")
			_, labelled := attribute(n, "aria-label")
			id, _ := attribute(n, "id")
			switch {
			case kind == "hidden", labelled, text(n) != "" && n.Data != "input" && n.Data != "select":
			case (n.Data == "input" || n.Data == "select") && insideLabel(n):
			case id == "confirm-ok": // named by what is asked
			default:
				t.Errorf("%s: <%s id=%q type=%q> has no name", name, n.Data, id, kind)
			}
		}
	}
}

func insideLabel(n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == "label" {
			return text(p) != ""
		}
	}
	return false
}

// What pages fetch is there, and the first page stays small.
func TestPageFiles(t *testing.T) {
	t.Parallel()
	root := parse(t, DevicesPage(cannedPage(), cannedDevices()))
	files := map[string]bool{}
	for _, n := range elements(root, named("link", "script")) {
		for _, key := range []string{"href", "src"} {
			if v, ok := attribute(n, key); ok {
				files[v] = true
			}
		}
	}
	for _, name := range []string{
		"app.css", "pages.css", "app.js", "live.js", "ui.js", "favicon.svg",
		"vendor/htmx.min.js", "vendor/inter.woff2", "vendor/jetbrains-mono.woff2",
	} {
		if !files[static.Path(name)] {
			t.Errorf("the page does not name %s", name)
		}
		delete(files, static.Path(name))
	}
	if len(files) > 0 {
		t.Errorf("the page names files that this test does not know: %v", files)
	}
}
