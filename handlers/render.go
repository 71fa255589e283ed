package handlers

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"
)

const minCompressed = 1 << 10 // bytes of a page below which compressing is not worth it

// The three kinds of handlers. Each returns its error, which [Server.fail] answers.
type (
	// A view answers a person: a page, or the part of one that htmx asks for.
	view func(r *http.Request, p principal) (templ.Component, error)
	// An act does something for a person and writes the answer itself.
	act func(w http.ResponseWriter, r *http.Request, p principal) error
	// A call answers a program: a value that becomes JSON.
	call func(r *http.Request, p principal) (any, error)
)

// page makes a handler of a view.
func (s *Server) page(v view) http.HandlerFunc {
	return s.act(func(w http.ResponseWriter, r *http.Request, p principal) error {
		component, err := v(r, p)
		if err == nil {
			s.render(w, r, http.StatusOK, component)
		}
		return err
	})
}

// act makes a handler of an act.
func (s *Server) act(a act) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, ok := principalOf(r)
		if !ok { // a route that needs somebody was made public
			s.fail(w, r, refuse(codeUnauthenticated, "Nobody is signed in."))
			return
		}
		if err := a(w, r, p); err != nil {
			s.fail(w, r, err)
		}
	}
}

// call makes a handler of a call.
func (s *Server) call(c call) http.HandlerFunc {
	return s.act(func(w http.ResponseWriter, r *http.Request, p principal) error {
		answer, err := c(r, p)
		if err == nil {
			writeJSON(w, answer)
		}
		return err
	})
}

// render sends HTML. It is drawn as a whole first, so that a fault becomes an error
// page and not half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	var body bytes.Buffer
	if err := c.Render(r.Context(), &body); err != nil {
		s.log.ErrorContext(r.Context(), "render_failed", "path", r.URL.Path, "err", err)
		writeProblem(w, problemOf(fmt.Errorf("draw the page: %w", err)))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "HX-Request, HX-Target, HX-History-Restore-Request, Accept-Encoding")
	out := body.Bytes()
	if len(out) >= minCompressed && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		out = compress(out)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out) // the browser went away: nothing to do
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed+4)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = z.Write(body) // writing to memory cannot fail
	_ = z.Close()
	return out.Bytes()
}

// isPart reports whether htmx asks for the element with that id and not for a page.
func isPart(r *http.Request, id string) bool {
	return isFragment(r) && r.Header.Get("HX-History-Restore-Request") != "true" && r.Header.Get("HX-Target") == id
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client went away: nothing to do
}
