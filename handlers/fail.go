package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"borealis/views"
)

// fail answers a request that went wrong: a program gets a problem document, a
// person a page, and a person without a session the sign-in page. Faults of the
// engine are logged here and nowhere else.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	switch {
	case gaveUp(r, err):
		s.log.DebugContext(r.Context(), "request_abandoned", "addr", address(r), "err", err)
	case p.Code == codeInternal:
		s.counts.faults.Add(1)
		s.log.ErrorContext(r.Context(), "request_failed", "addr", address(r), "method", r.Method, "path", r.URL.Path, "err", err)
	case p.Status == http.StatusForbidden:
		s.log.WarnContext(r.Context(), "request_refused", "addr", address(r), "reason", p.Code, "err", err)
	}
	switch {
	case p.Code == codeSecondFactor && isFragment(r):
		w.Header().Set("HX-Redirect", verifyPath(whereFrom(r)))
		writeProblem(w, p)
	case p.Code == codeSecondFactor && wantsPage(r):
		http.Redirect(w, r, verifyPath(whereTo(r)), http.StatusSeeOther)
	case !wantsPage(r):
		writeProblem(w, p)
	case p.Status == http.StatusUnauthorized:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(whereTo(r)), http.StatusSeeOther)
	default:
		setProblemHeaders(w, p)
		shown := views.Problem{Status: p.Status, Title: p.Title, Detail: p.Detail, Hint: p.Hint, Code: string(p.Code)}
		s.render(w, r, p.Status, views.ErrorPage(s.errorFrame(r, p.Title), shown))
	}
}

// errorFrame is the frame of an error page. It needs nothing that could fail again.
func (s *Server) errorFrame(r *http.Request, title string) views.Page {
	f := s.bareFrame(r, title)
	if p, ok := principalOf(r); ok {
		f.Operator = p.operator.Name
	}
	return f
}

// wantsPage reports whether a browser is going to show the answer as a page of its own.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") &&
		!isFragment(r) && !isAPI(r) && r.Header.Get("Upgrade") == ""
}

// isFragment reports whether htmx asks, which puts the answer into a page.
func isFragment(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// whereTo is where a person who has to sign in first wanted to go.
func whereTo(r *http.Request) string {
	if r.Method != http.MethodGet {
		return "/"
	}
	return r.URL.RequestURI()
}

// whereFrom is the page on which htmx makes a request.
func whereFrom(r *http.Request) string {
	page, err := url.Parse(r.Header.Get("HX-Current-URL"))
	if err != nil {
		return "/"
	}
	return localPath(page.RequestURI())
}

// verifyPath is where a second factor is asked for, before somebody goes on.
func verifyPath(next string) string { return "/verify?next=" + url.QueryEscape(next) }

// sentence is an error's text with a capital letter.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// clean makes text of strangers fit to be stored, logged and shown: without
// characters that are not visible, and no longer than a number of characters.
func clean(text string, most int) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == utf8.RuneError:
			return -1
		case c == ' ', unicode.IsPrint(c):
			return c
		case unicode.IsSpace(c):
			return ' '
		}
		return -1
	}, text)
	text = strings.TrimSpace(text)
	if utf8.RuneCountInString(text) > most {
		text = strings.TrimSpace(string([]rune(text)[:most]))
	}
	return text
}
