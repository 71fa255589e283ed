// Package access says who may do what in the console and its API: roles, rights, and whom one may change.
package access

import (
	"slices"
	"strings"
)

// Roles of operators. Who has another one may do nothing.
const (
	Viewer   = "viewer"   // looks
	Operator = "operator" // looks, connects, uses terminals, and changes allowed ports
	Auditor  = "auditor"  // looks, and reads and exports the audit trail; no shells
	Admin    = "admin"    // everything
)

// Roles returns all roles, the least powerful first.
func Roles() []string { return []string{Viewer, Operator, Auditor, Admin} }

// A Right is something that not every role may do. Its text completes "may not …".
type Right string

// The rights there are.
const (
	Look            Right = "look at devices and activity"
	Connect         Right = "connect to devices"
	ChangePorts     Right = "change the allowed ports of devices"
	ReadAudit       Right = "read the audit trail"
	ManageDevices   Right = "manage devices and enrolment"
	ManageOperators Right = "manage operators"
)

// Rights returns what a role may do; nothing for a role that does not exist.
func Rights(role string) []Right {
	switch role {
	case Admin:
		return []Right{Look, Connect, ChangePorts, ReadAudit, ManageDevices, ManageOperators}
	case Auditor:
		return []Right{Look, ReadAudit}
	case Operator:
		return []Right{Look, Connect, ChangePorts}
	case Viewer:
		return []Right{Look}
	}
	return nil
}

// May reports whether a role has a right.
func May(role string, right Right) bool { return slices.Contains(Rights(role), right) }

// Reserved reports whether a name stands for somebody on record who is no operator.
func Reserved(name string) bool {
	return slices.Contains([]string{"agent", "anonymous", "console", "engine"}, strings.ToLower(name))
}

// Scoped reports whether operators of a role can be held to some sites. Auditors and
// administrators are responsible for the whole engine.
func Scoped(role string) bool { return role == Viewer || role == Operator }

// MayGrant reports whether somebody with the role by may give a role to others, or take
// it from them: it must not have a right that by lacks.
func MayGrant(by, role string) bool {
	return slices.Contains(Roles(), role) &&
		!slices.ContainsFunc(Rights(role), func(r Right) bool { return !May(by, r) })
}
