package handlers

import (
	"context"
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
	}
	secret := wire.NewSecret()
	text := wire.Code{Address: s.config.PublicAddress(), Pin: s.config.Keys.Identity.Pin(), Secret: secret}.String()
	if _, err := wire.ParseCode(text); err != nil {
		return "", store.Code{}, fmt.Errorf("make a code for the engine's address %q: %w", s.config.PublicAddress(), err)
	}
	c.CreatedBy, c.CreatedAt = p.operator.Name, time.Now()
	c.ExpiresAt = c.CreatedAt.Add(life)
	c, err := s.config.Store.AddCode(ctx, HashSecret(secret), c)
	if err != nil {
		return "", store.Code{}, err
	}
	s.record(ctx, store.Record{
		Kind: "code_created", Target: c.ID,
		Detail: fmt.Sprintf("code %s for %d, until %s", c.ID, c.Uses, c.ExpiresAt.UTC().Format(time.RFC3339)),
	}.By(p.actor()))
	return text, c, nil
}
