package handlers

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"borealis/handlers/access"
	"borealis/store"
)

// maxOperatorSites is how many sites an operator can be held to.
const maxOperatorSites = 200

// validOperator is what an operator can be called, as the store has it.
var validOperator = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// subject is the operator of an id, for somebody who is about to change something of
// them: only with a second factor that was proven a moment ago, and only when the
// operator's role does not reach above their own.
func (s *Server) subject(ctx context.Context, p principal, id string) (store.Operator, error) {
	if err := s.fresh(p); err != nil {
		return store.Operator{}, err
	}
	o, err := s.readOperator(ctx, id)
	if err == nil && len(access.Rights(o.Role)) > 0 && !access.MayGrant(p.operator.Role, o.Role) {
		err = refuse(codeForbidden, "The role %q of %s may not change operators with the role %q.", p.operator.Role, p.operator.Name, o.Role)
	}
	return o, err
}

// other is subject for what nobody does to oneself.
func (s *Server) other(ctx context.Context, p principal, id string) (store.Operator, error) {
	o, err := s.subject(ctx, p, id)
	if err == nil && o.ID == p.operator.ID {
		err = refuse(codeYourself, "%s may not do this to oneself.", o.Name)
	}
	return o, err
}

// readOperator reads an operator that a person or program named.
func (s *Server) readOperator(ctx context.Context, id string) (store.Operator, error) {
	o, err := s.config.Store.Operator(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return o, refuse(codeUnknownOperator, "There is no operator with that id.")
	}
	return o, err
}

// addOperator adds an operator and returns the password that was made for them, which
// is not kept.
func (s *Server) addOperator(ctx context.Context, p principal, name, role string, sites []string) (store.Operator, string, error) {
	if err := s.fresh(p); err != nil {
		return store.Operator{}, "", err
	}
	if !validOperator.MatchString(name) {
		return store.Operator{}, "", invalid("name", "A name has 1 to 64 letters a to z, digits and the characters . _ @ -")
	}
	if access.Reserved(name) {
		return store.Operator{}, "", invalid("name", "The name %q stands for something else in the audit trail.", name)
	}
	sites, err := grantable(p, role, sites)
	if err != nil {
		return store.Operator{}, "", err
	}
	password := NewPassword()
	hash, err := HashPassword(password)
	if err != nil {
		return store.Operator{}, "", err
	}
	o, err := s.config.Store.AddOperator(ctx, store.Operator{Name: name, Role: role, Sites: sites, PasswordHash: hash}, store.Record{}.By(p.actor()))
	if errors.Is(err, store.ErrConflict) {
		err = refuse(codeNameTaken, "There is an operator named %q already.", name)
	}
	return o, password, err
}

// grantable checks what somebody wants to give an operator, and returns the sites as
// they are stored.
func grantable(p principal, role string, sites []string) ([]string, error) {
	switch {
	case !slices.Contains(access.Roles(), role):
		return nil, invalid("role", "The role is none of %s.", strings.Join(access.Roles(), ", "))
	case !access.MayGrant(p.operator.Role, role):
		return nil, refuse(codeForbidden, "The role %q of %s may not give the role %q.", p.operator.Role, p.operator.Name, role)
	case len(sites) > 0 && !access.Scoped(role):
		return nil, invalid("sites", "The role %q is for every site: only viewers and operators can be held to some.", role)
	case len(sites) > maxOperatorSites:
		return nil, invalid("sites", "An operator is held to %d sites at most.", maxOperatorSites)
	}
	for _, site := range sites {
		if site == "" || !tidy(site, maxSite) {
			return nil, invalid("sites", "A site's name has 1 to %d visible characters.", maxSite)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(sites))), nil
}

// tidy reports whether a text that somebody chose is fit to be stored as it is.
func tidy(text string, most int) bool { return clean(text, most) == text && utf8.ValidString(text) }

// setRole changes what an operator may do and which sites exist for them.
func (s *Server) setRole(ctx context.Context, p principal, id, role string, sites []string) error {
	o, err := s.other(ctx, p, id)
	if err != nil {
		return err
	}
	if sites, err = grantable(p, role, sites); err != nil {
		return err
	}
	return s.changed(s.config.Store.SetRole(ctx, o.ID, role, sites, store.Record{}.By(p.actor())))
}

// resetPassword gives an operator a new password, ends their sessions, and returns it.
// One's own is changed elsewhere, where the old one is asked for.
func (s *Server) resetPassword(ctx context.Context, p principal, id string) (store.Operator, string, error) {
	o, err := s.other(ctx, p, id)
	if err != nil {
		return o, "", err
	}
	password := NewPassword()
	hash, err := HashPassword(password)
	if err != nil {
		return o, "", err
	}
	return o, password, s.changed(s.config.Store.SetPassword(ctx, o.ID, hash, store.Record{Reason: "reset"}.By(p.actor())))
}

// resetFactors takes all second factors from an operator and ends their sessions.
func (s *Server) resetFactors(ctx context.Context, p principal, id string) error {
	o, err := s.other(ctx, p, id)
	if err != nil {
		return err
	}
	return s.changed(s.config.Store.ResetFactors(ctx, o.ID, store.Record{}.By(p.actor())))
}

// removeOperator removes an operator.
func (s *Server) removeOperator(ctx context.Context, p principal, id string) error {
	o, err := s.other(ctx, p, id)
	if err != nil {
		return err
	}
	return s.changed(s.config.Store.DeleteOperator(ctx, o.ID, store.Record{}.By(p.actor())))
}

// revokeSession ends a session of an operator; "" stands for whoever has it.
func (s *Server) revokeSession(ctx context.Context, p principal, operatorID, id string) error {
	sessions, err := s.config.Store.Sessions(ctx, operatorID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(sessions, func(one store.Session) bool { return one.ID == id })
	if i < 0 {
		return refuse(codeNotFound, "There is no such session, or not any more.")
	}
	o, err := s.subject(ctx, p, sessions[i].OperatorID)
	if err != nil {
		return err
	}
	did := store.Record{Kind: "session_revoked", Target: o.Name}.By(p.actor())
	if err := s.changed(s.config.Store.DeleteSession(ctx, id, did)); err != nil {
		return err
	}
	s.streams.endSession(id)
	return nil
}

// revokeToken ends an API token of an operator.
func (s *Server) revokeToken(ctx context.Context, p principal, operatorID, id string) error {
	if _, err := s.subject(ctx, p, operatorID); err != nil {
		return err
	}
	tokens, err := s.config.Store.APITokens(ctx, operatorID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tokens, func(one store.APIToken) bool { return one.ID == id }) {
		return refuse(codeNotFound, "The operator has no such API token, or not any more.")
	}
	return s.changed(s.config.Store.DeleteAPIToken(ctx, id, store.Record{}.By(p.actor())))
}

// changed has a change that may take something from somebody enforced at once, and
// returns what came of it.
func (s *Server) changed(err error) error {
	switch {
	case err == nil:
		s.access.wake()
	case errors.Is(err, store.ErrLastAdmin):
		return refuse(codeLastAdmin, "Nobody would be left who may sign in and manage operators.")
	}
	return err
}

// liveSessions are the sessions that have not ended by their age or by lying idle.
func liveSessions(all []store.Session, now time.Time) []store.Session {
	return slices.DeleteFunc(all, func(one store.Session) bool {
		return !one.ExpiresAt.After(now) || now.Sub(one.SeenAt) >= sessionIdle
	})
}
