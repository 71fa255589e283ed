package handlers

import (
	"net/http"
	"regexp"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
)

// A principal is who makes a request, proven by a session or an API token.
type principal struct {
	operator store.Operator
	session  store.Session  // zero when an API token was used
	token    store.APIToken // zero when a session was used
	source   string         // the address that the request comes from
}

func (p principal) may(r access.Right) bool { return access.May(p.operator.Role, r) }

// need returns the failure of a principal who lacks a right.
func (p principal) need(r access.Right) error {
	if !p.may(r) {
		return refuse(codeForbidden, "The role %q of %s may not %s.", p.operator.Role, p.operator.Name, r)
	}
	return nil
}

// scope is which devices exist for the principal.
func (p principal) scope() store.Scope {
	if !access.Scoped(p.operator.Role) || len(p.operator.Sites) == 0 {
		return store.Scope{All: true}
	}
	return store.Scope{Sites: p.operator.Sites}
}

// actor is the principal as records name it.
func (p principal) actor() store.Actor {
	return store.Actor{Name: p.operator.Name, Session: p.credential(), Source: p.source}
}

// credential is the id of the session or API token.
func (p principal) credential() string {
	if p.session.ID != "" {
		return p.session.ID
	}
	return p.token.ID
}

// opens is the principal as the owner of an open answer that takes a right; the device
// is zero when the answer is about no single one.
func (p principal) opens(needs access.Right, d store.Device) owner {
	return owner{operator: p.operator, credential: p.credential(), device: d, needs: needs}
}

var validTab = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// tab is a browser tab's id as the tunnel manager knows it. A page chooses its own
// id, so the session is part of it: nobody can speak for another session's tab.
func (p principal) tab(id string) string {
	if p.session.ID == "" || !validTab.MatchString(id) {
		return ""
	}
	return p.session.ID + "/" + id
}

// holder is the principal as a user of tunnels from a tab; tab is "" for programs.
func (p principal) holder(tab string) tunnel.Holder {
	return tunnel.Holder{OperatorID: p.operator.ID, Operator: p.operator.Name, Session: p.credential(), Source: p.source, Tab: p.tab(tab)}
}

// requestHolder is the holder that a page's or a program's request stands for.
func (p principal) requestHolder(r *http.Request) tunnel.Holder {
	return p.holder(r.Header.Get("Borealis-Tab"))
}

// principalKey is where a request's context holds who makes it.
type principalKey struct{}

// principalOf returns who makes an authenticated request.
func principalOf(r *http.Request) (principal, bool) {
	p, ok := r.Context().Value(principalKey{}).(principal)
	return p, ok
}
