package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"borealis/store"
)

const (
	sessionCookie = "__Host-brl"
	sessionIdle   = 30 * time.Minute // without anything that a person did
	sessionLife   = 12 * time.Hour   // however much it is used
	sessionTouch  = time.Minute      // how exactly the last use is known
)

// startSession signs an operator in and sets the browser's cookie. The session that
// the browser had before ends.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, o store.Operator) error {
	now := time.Now()
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if before, err := s.resume(r.Context(), cookie.Value); err == nil {
			if err := s.endSession(r.Context(), before.session.ID); err != nil {
				return err
			}
		}
	}
	if _, err := s.config.Store.DeleteExpiredSessions(r.Context(), now.Add(-sessionIdle), now); err != nil {
		return err
	}
	secret := newSecret()
	_, err := s.config.Store.AddSession(r.Context(), HashSecret(secret), store.Session{
		OperatorID: o.ID, CreatedAt: now, ExpiresAt: now.Add(sessionLife),
		RemoteAddr: address(r), UserAgent: clean(r.UserAgent(), 256),
	})
	if err != nil {
		return err
	}
	setSessionCookie(w, secret)
	return nil
}

// setSessionCookie gives a browser its cookie; an empty secret takes it away.
func setSessionCookie(w http.ResponseWriter, secret string) {
	c := &http.Cookie{
		Name: sessionCookie, Value: secret, Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// resume finds the live session of a cookie. One that is over is deleted.
func (s *Server) resume(ctx context.Context, secret string) (principal, error) {
	over := refuse(codeSessionExpired, "The session has ended.")
	session, operator, err := s.config.Store.SessionByHash(ctx, HashSecret(secret))
	if errors.Is(err, store.ErrNotFound) {
		return principal{}, over
	}
	if err != nil {
		return principal{}, err
	}
	if now := time.Now(); !session.ExpiresAt.After(now) || now.Sub(session.SeenAt) >= sessionIdle {
		if err := s.endSession(ctx, session.ID); err != nil {
			return principal{}, err
		}
		return principal{}, over
	}
	return principal{operator: operator, session: session}, nil
}

// endSession ends a session and what it has open.
func (s *Server) endSession(ctx context.Context, id string) error {
	s.streams.endSession(id)
	return s.config.Store.DeleteSession(ctx, id)
}

// touch notes that a person used a session.
func (s *Server) touch(ctx context.Context, session store.Session) {
	now := time.Now()
	if now.Sub(session.SeenAt) < sessionTouch {
		return
	}
	err := s.config.Store.TouchSession(ctx, session.ID, now)
	if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
		s.log.WarnContext(ctx, "session_touch_failed", "err", err) // the request itself is fine
	}
}

// alive looks again whether the session of an open stream still lives.
func (s *Server) alive(r *http.Request) error {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return errSessionGone
	}
	if _, err := s.resume(r.Context(), cookie.Value); err != nil {
		if f, ok := errors.AsType[*failure](err); ok && f.code == codeSessionExpired {
			return errSessionGone
		}
		return err
	}
	return nil
}
