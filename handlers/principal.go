package handlers

import (
	"net/http"
	"regexp"
	"slices"

	"borealis/store"
	"borealis/tunnel"
)

// Roles of operators. Who has another one may do nothing.
const (
	RoleAdmin    = "admin"    // everything
	RoleOperator = "operator" // look, connect, use terminals, and change allowed ports
	RoleViewer   = "viewer"   // look
)

// A right is something that not every role may do.
type right string

const (
	look        right = "look at devices and activity"
	connect     right = "connect to devices"
	changePorts right = "change the allowed ports of devices"
	manage      right = "manage devices and enrolment"
)

// rights is the table of what a role may do.
func rights(role string) []right {
	switch role {
	case RoleAdmin:
		return []right{look, connect, changePorts, manage}
	case RoleOperator:
		return []right{look, connect, changePorts}
	case RoleViewer:
		return []right{look}
	}
	return nil
}

// A principal is who makes a request, proven by a session or an API token.
type principal struct {
	operator store.Operator
	session  store.Session  // zero when an API token was used
	token    store.APIToken // zero when a session was used
}

func (p principal) may(r right) bool { return slices.Contains(rights(p.operator.Role), r) }

// need returns the failure of a principal who lacks a right.
func (p principal) need(r right) error {
	if !p.may(r) {
		return refuse(codeForbidden, "The role %q of %s may not %s.", p.operator.Role, p.operator.Name, r)
	}
	return nil
}

// credential is the id of the session or API token.
func (p principal) credential() string {
	if p.session.ID != "" {
		return p.session.ID
	}
	return p.token.ID
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
	return tunnel.Holder{OperatorID: p.operator.ID, Operator: p.operator.Name, Session: p.credential(), Tab: p.tab(tab)}
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
