package handlers

import (
	"context"
	"errors"
	"time"

	"borealis/store"
)

// When terminals ask for a second factor.
const (
	stepUpNever   = "never"
	stepUpSession = "session" // once in a session's life
	stepUpShell   = "shell"   // for each new terminal
)

// proofLife is how long a proof of the second factor is good for what asks for a fresh
// one.
const proofLife = 5 * time.Minute

// stepUp refuses a new terminal to somebody whose second factor was not proven as the
// policy asks for. An API token proves that somebody was on the engine's host, which is
// enough once for all but not for each terminal.
func (s *Server) stepUp(ctx context.Context, p principal) error {
	switch s.config.StepUp {
	case stepUpNever:
		return nil
	case stepUpShell:
		if p.session.ID == "" {
			return refuse(codeSecondFactor, "Each terminal takes a second factor, and a program has none.")
		}
		err := s.config.Store.SpendVerification(ctx, p.session.ID, time.Now().Add(-proofLife))
		if errors.Is(err, store.ErrNotVerified) {
			return refuse(codeSecondFactor, "Each new terminal takes a second factor that was proven just now.")
		}
		return err
	}
	if p.session.ID != "" && !verifiedWithin(p.session, sessionLife) {
		return refuse(codeSecondFactor, "Terminals take a second factor.")
	}
	return nil
}

// fresh refuses what needs a second factor that was proven a moment ago, unless the
// policy never asks for one. API tokens pass as they do in stepUp.
func (s *Server) fresh(p principal) error {
	switch {
	case s.config.StepUp == stepUpNever,
		p.session.ID == "" && s.config.StepUp != stepUpShell,
		p.session.ID != "" && verifiedWithin(p.session, proofLife):
		return nil
	}
	return refuse(codeSecondFactor, "This takes a second factor that was proven within the last %d minutes.", int(proofLife.Minutes()))
}

// verifiedWithin reports whether a session's second factor was proven that recently.
func verifiedWithin(v store.Session, d time.Duration) bool {
	return !v.VerifiedAt.IsZero() && time.Since(v.VerifiedAt) <= d
}
