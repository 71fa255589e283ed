package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/store"

	"github.com/go-chi/chi/v5"
)

// needs is what each route of a table asks for, by method and pattern.
func needs(table []route) map[string]access.Right {
	all := make(map[string]access.Right, len(table))
	for _, row := range table {
		all[row.method+" "+row.pattern] = row.needs
	}
	return all
}

// authenticated lets a request pass when its route is for anyone, or when it proves who
// makes it and their role allows what the route asks for. What has no route at all
// needs a session too, so strangers learn nothing.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		right, known := s.needs[r.Method+" "+s.routeOf(r)]
		if known && right == anyone {
			next.ServeHTTP(w, r)
			return
		}
		p, err := s.identify(r)
		if err == nil {
			err = s.notLocked(r.Context(), p.operator.ID)
		}
		if err == nil {
			err = p.need(access.Look)
		}
		if err == nil && known {
			err = p.need(right)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		visitorOf(r.Context()).known()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

// routeOf is the pattern of the route that the router will choose; "" when none.
func (s *Server) routeOf(r *http.Request) string {
	path := r.URL.RawPath // as the router decides
	if path == "" {
		path = r.URL.Path
	}
	return s.mux.Find(chi.NewRouteContext(), r.Method, path)
}

// identify finds out who makes a request. Programs send a token, and only to the API
// and to terminals; browsers send a cookie.
func (s *Server) identify(r *http.Request) (principal, error) {
	if r.Header.Get("Authorization") != "" && (isAPI(r) || isTerminal(r)) {
		return s.identifyToken(r)
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return principal{}, refuse(codeUnauthenticated, "Nobody is signed in.")
	}
	p, err := s.resume(r.Context(), cookie.Value)
	p.source = address(r)
	if err != nil {
		return principal{}, err
	}
	if !isBackground(r) {
		s.touch(r.Context(), p.session)
	}
	return p, nil
}

func (s *Server) identifyToken(r *http.Request) (principal, error) {
	kind, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") || !strings.HasPrefix(text, tokenPrefix) {
		return principal{}, refuse(codeUnauthenticated, "The Authorization header holds no API token.")
	}
	token, operator, err := s.config.Store.APITokenByHash(r.Context(), HashSecret(text))
	if errors.Is(err, store.ErrNotFound) {
		return principal{}, s.wrongToken(r)
	}
	if err != nil {
		return principal{}, err
	}
	if !token.ExpiresAt.IsZero() && !token.ExpiresAt.After(time.Now()) {
		return principal{}, refuse(codeSessionExpired, "The API token has expired.")
	}
	return principal{operator: operator, token: token, source: address(r)}, nil
}

// wrongToken is the failure of an API token that nobody has. It costs its source a
// penalty, which a token that is right does not have to sit out.
func (s *Server) wrongToken(r *http.Request) error {
	if wait := s.tokens.charge(source(r)); wait > 0 {
		f := refuse(codeTooMany, "Too many API tokens from %s were not known.", address(r))
		f.retry = wait
		return f
	}
	s.recordRefusal(r.Context(), store.Record{Kind: "token_refused", Source: address(r)})
	return refuse(codeUnauthenticated, "The API token is not known.")
}

// isTerminal reports whether a request is for a terminal's ticket or its socket.
func isTerminal(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/devices/") && (strings.HasSuffix(r.URL.Path, "/terminal/ticket") || strings.HasSuffix(r.URL.Path, "/terminal/ws"))
}

// isBackground reports whether a page makes the request by itself, so that it does
// not show that a person is there.
func isBackground(r *http.Request) bool { return r.URL.Path == "/events" }
