package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"borealis/store"
)

const (
	sessionCookie = "__Host-brl"
	sessionIdle   = 30 * time.Minute // without anything that a person did
	sessionLife   = 12 * time.Hour   // however much it is used
	sessionTouch  = time.Minute      // how exactly the last use is known
	touchTimeout  = time.Second      // to note it
)

// startSession signs an operator in and sets the browser's cookie; verified is when
// they proved a second factor, zero when they did not. The session that the browser had
// before ends.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, o store.Operator, method string, verified time.Time) error {
	now := time.Now()
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if before, err := s.resume(r.Context(), cookie.Value); err == nil {
			before.source = address(r)
			did := store.Record{Kind: "signed_out", Reason: "signed_in_again"}.By(before.actor())
			if err := s.endSession(r.Context(), before.session.ID, did); err != nil {
				return err
			}
		}
	}
	if _, err := s.config.Store.DeleteExpiredSessions(r.Context(), now.Add(-sessionIdle), now); err != nil {
		return err
	}
	did := store.Record{Source: address(r), Detail: "with " + method}
	if !verified.IsZero() && method == store.ByPassword {
		did.Detail += " and second factor"
	}
	secret := newSecret()
	_, err := s.config.Store.AddSession(r.Context(), HashSecret(secret), store.Session{
		OperatorID: o.ID, Method: method, CreatedAt: now, ExpiresAt: now.Add(sessionLife), VerifiedAt: verified,
		RemoteAddr: address(r), UserAgent: clean(r.UserAgent(), 256),
	}, did)
	if err != nil {
		return err
	}
	setSessionCookie(w, secret)
	return nil
}

// setSessionCookie gives a browser its cookie; an empty secret takes it away.
func setSessionCookie(w http.ResponseWriter, secret string) {
	setCookie(w, sessionCookie, secret, http.SameSiteStrictMode)
}

// setCookie gives a browser a cookie that no script and no other host sees; one without
// a value is taken away.
func setCookie(w http.ResponseWriter, name, value string, sent http.SameSite) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: sent} //nolint:gosec // it has them all
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// cookieOf is the value of a request's cookie; "" when it has none.
func cookieOf(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

// resume finds the live session of a cookie. One that is over is deleted.
func (s *Server) resume(ctx context.Context, secret string) (principal, error) {
	ended := refuse(codeSessionExpired, "The session has ended.")
	session, operator, err := s.config.Store.SessionByHash(ctx, HashSecret(secret))
	if errors.Is(err, store.ErrNotFound) {
		return principal{}, ended
	}
	if err != nil {
		return principal{}, err
	}
	if over(session, time.Now()) {
		if err := s.endSession(ctx, session.ID, store.Record{}); err != nil {
			return principal{}, err
		}
		return principal{}, ended
	}
	return principal{operator: operator, session: session}, nil
}

// over reports whether a session has ended by itself.
func over(v store.Session, now time.Time) bool {
	return !v.ExpiresAt.After(now) || now.Sub(v.SeenAt) >= sessionIdle
}

// endSession ends a session and what it has open, with a record unless it has no kind.
func (s *Server) endSession(ctx context.Context, id string, did store.Record) error {
	err := s.config.Store.DeleteSession(ctx, id, did)
	if err == nil {
		s.streams.endSession(id)
		s.access.wake()
	}
	return err
}

// touch notes that a person used a session.
func (s *Server) touch(ctx context.Context, session store.Session) {
	now := time.Now()
	if now.Sub(session.SeenAt) < sessionTouch {
		return
	}
	brief, cancel := context.WithTimeout(ctx, touchTimeout) // a page does not wait for a database that is busy
	defer cancel()
	err := s.config.Store.TouchSession(brief, session.ID, now)
	if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
		s.log.WarnContext(ctx, "session_touch_failed", "err", err) // the request itself is fine
	}
}

// alive looks again whether the session of an open stream still lives. It goes by the
// session and not by the cookie, which has changed when a second factor was proven
// since.
func (s *Server) alive(r *http.Request) error {
	p, ok := principalOf(r)
	if !ok {
		return errSessionGone
	}
	if p.session.ID == "" {
		return nil // a program; the enforcer looks after its token
	}
	all, err := s.config.Store.Sessions(r.Context(), p.operator.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(v store.Session) bool { return v.ID == p.session.ID && !over(v, time.Now()) }) {
		return errSessionGone
	}
	return nil
}
