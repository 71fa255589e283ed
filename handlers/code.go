package handlers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

// Limits of enrolment codes.
const (
	maxCodeLife = 7 * 24 * time.Hour
	maxSite     = 100 // characters
)

// addCode makes an enrolment code for a time and returns its text, which is not kept.
func (s *Server) addCode(ctx context.Context, p principal, c store.Code, life time.Duration) (string, store.Code, error) {
	switch {
	case c.Uses < 1 || c.Uses > store.MaxUses:
		return "", store.Code{}, invalid("uses", "A code is for 1 to %d machines.", store.MaxUses)
	case life < time.Minute || life > maxCodeLife:
		return "", store.Code{}, invalid("ttl_seconds", "A code lives from one minute to 7 days.")
	case c.AutoApprove && c.Uses > store.MaxAutoUses:
		return "", store.Code{}, invalid("uses", "A code that approves at once is for %d machines at most.", store.MaxAutoUses)
	case c.AutoApprove && life > store.MaxAutoLife:
		return "", store.Code{}, invalid("ttl_seconds", "A code that approves at once lives for one hour at most.")
	}
	secret := wire.NewSecret()
	text := wire.Code{Address: s.config.PublicAddress(), Pin: s.config.Keys.Identity.Pin(), Secret: secret}.String()
	if _, err := wire.ParseCode(text); err != nil {
		return "", store.Code{}, fmt.Errorf("make a code for the engine's address %q: %w", s.config.PublicAddress(), err)
	}
	c.CreatedBy, c.CreatedAt = p.operator.Name, time.Now()
	c.ExpiresAt = c.CreatedAt.Add(life)
	c, err := s.config.Store.AddCode(ctx, HashSecret(secret), c, store.Record{}.By(p.actor()))
	return text, c, err
}

// removeCode takes an enrolment code out of use.
func (s *Server) removeCode(ctx context.Context, p principal, id string) error {
	err := s.config.Store.DeleteCode(ctx, id, store.Record{}.By(p.actor()))
	if errors.Is(err, store.ErrNotFound) {
		return refuse(codeNotFound, "There is no such enrolment code, or not any more.")
	}
	return err
}
