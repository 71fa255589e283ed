package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/terminal"
)

// A code names a kind of refusal. Programs rely on it, so it never changes.
type code string

const (
	codeUnauthenticated code = "unauthenticated"
	codeSessionExpired  code = "session_expired"
	codeSignInFailed    code = "sign_in_failed"
	codeForbidden       code = "forbidden"
	codeCrossOrigin     code = "cross_origin"
	codeWrongHost       code = "wrong_host"
	codeNotFound        code = "not_found"
	codeUnknownDevice   code = "unknown_device"
	codeMethod          code = "method_not_allowed"
	codeMalformed       code = "malformed_json"
	codeUnknownField    code = "unknown_field"
	codeInvalid         code = "invalid"
	codeTooLarge        code = "body_too_large"
	codeMediaType       code = "unsupported_media_type"
	codeOffline         code = "agent_offline"
	codePending         code = "device_pending"
	codeRevoked         code = "device_revoked"
	codeActive          code = "tunnel_active"
	codeDown            code = "tunnel_down"
	codeUnavailable     code = "tunnels_unavailable"
	codePool            code = "pool_exhausted"
	codePortClosed      code = "port_not_allowed"
	codeTooMany         code = "too_many"
	codeStopping        code = "engine_stopping"
	codeInternal        code = "internal"
	codeBadTicket       code = "bad_ticket"
	codePortsChanged    code = "ports_changed"
	codePrecondition    code = "precondition_required"
	codeConfirm         code = "confirmation_required"
	codeNothingToUndo   code = "nothing_to_undo"
	codeUnverified      code = "verification_timeout"
	codeSecondFactor    code = "second_factor_required"
	codeFactorFailed    code = "second_factor_failed"
	codeNoRole          code = "no_role"
	codeProviderDown    code = "identity_provider_unavailable"

	codeOperatorLocked code = "operator_locked"
	codeDeviceLocked   code = "device_locked"

	codeNoUpdate code = "no_update"
	codeUpdating code = "device_updating"

	codeUnknownOperator code = "unknown_operator"
	codeNameTaken       code = "name_taken"
	codeLastAdmin       code = "last_admin"
	codeYourself        code = "not_yourself"
	codeLockedAlready   code = "locked_already"
	codeNotLocked       code = "not_locked"
	codeReplaces        code = "replaces_device"
	codeDeviceState     code = "device_state"
	codeRefusedForm     code = "form_refused"

	codeEnrolUnknown code = "code_unknown"
	codeEnrolUsed    code = "code_used"
	codeEnrolExpired code = "code_expired"
	codeEnrolQueue   code = "too_many_pending"
)

// kind is what all refusals of a code have in common: the HTTP status, a title, and
// what people can do about it.
func (c code) kind() (status int, title, hint string) {
	switch c {
	case codeUnauthenticated:
		return http.StatusUnauthorized, "Not signed in", "Sign in, or send an API token as Authorization: Bearer."
	case codeSessionExpired:
		return http.StatusUnauthorized, "Session has ended", "Sign in again."
	case codeSignInFailed:
		return http.StatusUnauthorized, "Sign-in failed", "Check the name and the password. An administrator can set a new password on the engine's host."
	case codeForbidden:
		return http.StatusForbidden, "Not allowed", "Ask an administrator for a role that allows this."
	case codeCrossOrigin:
		return http.StatusForbidden, "Request from another site", "Open the console itself and do it there."
	case codeWrongHost:
		return http.StatusMisdirectedRequest, "Unknown host name", "Call the console by a name or address it was started with."
	case codeNotFound:
		return http.StatusNotFound, "Not found", "Check the address."
	case codeUnknownDevice:
		return http.StatusNotFound, "No such device", "List the devices to see their ids."
	case codeMethod:
		return http.StatusMethodNotAllowed, "Method not allowed", "The Allow header names the methods there are."
	case codeMalformed:
		return http.StatusBadRequest, "Malformed JSON", "Send one JSON object."
	case codeUnknownField:
		return http.StatusBadRequest, "Unknown field", "Check the spelling of the field."
	case codeInvalid:
		return http.StatusUnprocessableEntity, "Invalid value", "Change the value and try again."
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge, "Request too large", "Send a body of 64 KiB at most."
	case codeMediaType:
		return http.StatusUnsupportedMediaType, "Unsupported media type", "Send JSON with Content-Type: application/json, and a form as application/x-www-form-urlencoded."
	case codeTooMany:
		return http.StatusTooManyRequests, "Too many attempts", "Wait for the time in the Retry-After header."
	case codeStopping:
		return http.StatusServiceUnavailable, "Engine is stopping", "Try again in a moment."
	case codeSecondFactor:
		return http.StatusForbidden, "Needs a second factor", "Prove your second factor at /verify and try again."
	case codeFactorFailed:
		return http.StatusForbidden, "Not accepted", "Try again, or prove it in another way."
	case codeNoRole:
		return http.StatusForbidden, "No role", "Ask whoever runs the identity provider for access to this console."
	case codeProviderDown:
		return http.StatusServiceUnavailable, "Identity provider does not answer", "Try again in a moment, or sign in with a password or a passkey."
	case codeUnverified:
		return http.StatusServiceUnavailable, "Verifying took too long", "Verify an export with \"borealis audit verify\", on the engine's host or on another one."
	case codeBadTicket:
		return http.StatusForbidden, "Ticket is not valid", "Reload the page."
	}
	return c.deviceKind()
}

// deviceKind is kind for what devices and tunnels refuse.
func (c code) deviceKind() (status int, title, hint string) {
	switch c {
	case codeOffline:
		return http.StatusConflict, "Device is offline", "Check that the device is on and that its agent runs and can reach this engine."
	case codePending:
		return http.StatusConflict, "Device waits for approval", "Compare its key and approve it."
	case codeRevoked:
		return http.StatusConflict, "Device is not trusted", "Approve it when it is quarantined. When it is revoked, uninstall its agent and enrol it anew, with a new key."
	case codeActive:
		return http.StatusConflict, "Tunnel is active", "Join it by leaving out \"new\", or disconnect it first."
	case codeDown:
		return http.StatusConflict, "Tunnel is down", "Connect to the device first."
	case codeUnavailable:
		return http.StatusServiceUnavailable, "Tunnels are unavailable", "The engine keeps trying; its log and \"Tunnels\" in the console say why."
	case codeOperatorLocked:
		return http.StatusForbidden, "Access is locked", "An administrator can lift the lock."
	case codeDeviceLocked:
		return http.StatusConflict, "Device is locked", "An administrator can lift the lock."
	case codePool:
		return http.StatusConflict, "No virtual address is free", "Start the engine with a larger --pool."
	case codePortClosed:
		return http.StatusConflict, "Port is not allowed", "Allow it in the device's Advanced Config."
	case codePortsChanged:
		return http.StatusPreconditionFailed, "Ports were changed meanwhile", "Look at \"current\", decide again, and send it with its ETag as If-Match."
	case codePrecondition:
		return http.StatusPreconditionRequired, "Revision is missing", "Read the ports and send their ETag as If-Match; * is not taken."
	case codeConfirm:
		return http.StatusConflict, "Needs a confirmation", "Send it again with confirmed=1 to do it all the same."
	case codeNothingToUndo:
		return http.StatusConflict, "Nothing to undo", "Set the ports as you want them."
	case codeEnrolUnknown:
		return http.StatusForbidden, "Unknown enrolment code", "Make a new code in the console under Enrolment."
	case codeEnrolUsed:
		return http.StatusConflict, "Enrolment code is used up", "Make a new code, or one with more uses."
	case codeEnrolExpired:
		return http.StatusGone, "Enrolment code has expired", "Make a new code."
	case codeNoUpdate:
		return http.StatusConflict, "No update for this device", "Compare the device's version with the one that the engine carries."
	case codeUpdating:
		return http.StatusConflict, "Device is being updated", "Wait until its agent has checked in again, or has said what went wrong."
	case codeEnrolQueue:
		return http.StatusConflict, "Too many devices wait for approval", "Approve or deny waiting devices first."
	}
	return c.peopleKind()
}

// peopleKind is kind for what is refused about operators, locks and decisions.
func (c code) peopleKind() (status int, title, hint string) {
	switch c {
	case codeUnknownOperator:
		return http.StatusNotFound, "No such operator", "List the operators to see their ids."
	case codeNameTaken:
		return http.StatusConflict, "Name is taken", "Choose another name."
	case codeLastAdmin:
		return http.StatusConflict, "Last administrator", "Make or unlock another administrator first."
	case codeYourself:
		return http.StatusForbidden, "Not on yourself", "Ask another administrator. Your own password and second factor are under Account."
	case codeLockedAlready:
		return http.StatusConflict, "Locked already", "Unlock it first to change the lock."
	case codeNotLocked:
		return http.StatusConflict, "Not locked", "List the locks to see what is locked."
	case codeReplaces:
		return http.StatusConflict, "Machine is known already", "Send it again with decision=replace or decision=keep_both, or deny the device."
	case codeDeviceState:
		return http.StatusConflict, "Device is not in that state", "Look at the device again: somebody else may have decided."
	case codeRefusedForm:
		return http.StatusBadRequest, "Form is not complete", "Fill it in and try again."
	}
	return c.databaseKind()
}

// A failure is a request that is refused for a reason which the client may know.
type failure struct {
	code     code
	detail   string // one sentence for people
	field    string // the field at fault, if it is one
	lastSeen time.Time
	tunnelID string
	reason   string        // of a lock
	until    time.Time     // when the lock ends by itself; zero: it does not
	retry    time.Duration // after which it may go well; zero when that is not known

	yours, current    *portsAnswer // of ports_changed
	question, confirm string       // of confirmation_required
}

func (f *failure) Error() string { return f.detail }

// refuse makes a failure.
func refuse(c code, format string, args ...any) *failure {
	return &failure{code: c, detail: fmt.Sprintf(format, args...)}
}

// invalid makes the failure of a field's value.
func invalid(field, format string, args ...any) *failure {
	f := refuse(codeInvalid, format, args...)
	f.field = field
	return f
}

// A problem is the answer to a refused request, as RFC 9457 describes it.
type problem struct {
	Type     string     `json:"type"` // urn:borealis:problem:CODE
	Title    string     `json:"title"`
	Status   int        `json:"status"`
	Code     code       `json:"code"`
	Detail   string     `json:"detail"`
	Hint     string     `json:"hint"`
	Field    string     `json:"field,omitempty"`       // the field at fault
	LastSeen *time.Time `json:"last_seen,omitempty"`   // of agent_offline, when the device was ever seen
	TunnelID string     `json:"tunnel_id,omitempty"`   // of tunnel_active
	Reason   string     `json:"reason,omitempty"`      // of device_locked and operator_locked, when one was given
	Until    *time.Time `json:"until,omitempty"`       // of device_locked and operator_locked, when the lock ends by itself
	Retry    int        `json:"retry_after,omitempty"` // seconds, of too_many

	Yours    *portsAnswer `json:"yours,omitempty"`    // of ports_changed: what was wanted
	Current  *portsAnswer `json:"current,omitempty"`  // of ports_changed: what holds
	Question string       `json:"question,omitempty"` // of confirmation_required: what to ask
	Confirm  string       `json:"confirm,omitempty"`  // of confirmation_required: what the button says
}

// problemOf is the one place where errors become HTTP statuses and sentences.
func problemOf(err error) problem {
	f := failureOf(err)
	status, title, hint := f.code.kind()
	p := problem{
		Type: "urn:borealis:problem:" + string(f.code), Title: title, Status: status,
		Code: f.code, Detail: f.detail, Hint: hint, Field: f.field, TunnelID: f.tunnelID, Reason: f.reason,
		Retry: int((f.retry + time.Second - 1) / time.Second),
		Yours: f.yours, Current: f.current, Question: f.question, Confirm: f.confirm,
	}
	if !f.lastSeen.IsZero() {
		at := f.lastSeen.UTC()
		p.LastSeen = &at
	}
	if !f.until.IsZero() {
		at := f.until.UTC()
		p.Until = &at
	}
	return p
}

// failureOf finds what the client may know about an error.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if f := portsFailure(err); f != nil {
		return f
	}
	if f := databaseFailure(err); f != nil {
		return f
	}
	if l, ok := errors.AsType[*tunnel.LockedError](err); ok {
		return locked(store.Lock{Kind: l.Kind, Reason: l.Reason, Until: l.Until})
	}
	switch {
	case errors.Is(err, tunnel.ErrUnknownDevice):
		return refuse(codeUnknownDevice, "There is no device with that id.")
	case errors.Is(err, tunnel.ErrOffline):
		return offline(err)
	case errors.Is(err, tunnel.ErrPending):
		return refuse(codePending, "The device is waiting for approval.")
	case errors.Is(err, tunnel.ErrRevoked):
		return refuse(codeRevoked, "The device has been revoked or quarantined and may not connect.")
	case errors.Is(err, tunnel.ErrActive):
		f := refuse(codeActive, "The device has a live tunnel already.")
		if active, ok := errors.AsType[*tunnel.ActiveError](err); ok {
			f.tunnelID = active.TunnelID
		}
		return f
	case errors.Is(err, tunnel.ErrUnavailable):
		return refuse(codeUnavailable, "%s.", sentence(err.Error()))
	case errors.Is(err, tunnel.ErrPoolExhausted):
		return refuse(codePool, "Every address of the pool has been given to a device.")
	case errors.Is(err, tunnel.ErrNotConnected), errors.Is(err, tunnel.ErrNotUp):
		return refuse(codeDown, "There is no tunnel that is up.")
	case errors.Is(err, tunnel.ErrTooMany):
		return refuse(codeTooMany, "%s.", sentence(err.Error()))
	case errors.Is(err, terminal.ErrFull):
		return refuse(codeTooMany, "The device has no room for another terminal.")
	case errors.Is(err, tunnel.ErrTooOld):
		return refuse(codeNoUpdate, "The device's agent is of a version that takes no updates. Install the new version on the device itself.")
	case errors.Is(err, tunnel.ErrUpdating):
		return refuse(codeUpdating, "The device's agent is replacing itself already.")
	case errors.Is(err, acl.ErrRefused):
		return refuse(codePortClosed, "The port list of the device does not allow its shell.")
	case errors.Is(err, store.ErrNotFound):
		return refuse(codeNotFound, "It does not exist, or not any more.")
	case errors.Is(err, store.ErrCode):
		return refuse(codeEnrolUnknown, "The engine does not know this enrolment code.")
	case errors.Is(err, store.ErrCodeUsed):
		return refuse(codeEnrolUsed, "The enrolment code has been used as often as it may be.")
	case errors.Is(err, store.ErrCodeExpired):
		return refuse(codeEnrolExpired, "The enrolment code is too old.")
	case errors.Is(err, store.ErrTooManyPending):
		return refuse(codeEnrolQueue, "%d devices are waiting for approval already.", store.MaxPending)
	case errors.Is(err, store.ErrClosed):
		return refuse(codeStopping, "The engine is stopping.")
	}
	return refuse(codeInternal, "The engine could not do this because of a fault of its own.")
}

// portsFailure is failureOf for what is wrong with a wanted list of ports; nil when it
// is something else.
func portsFailure(err error) *failure {
	if bad, ok := errors.AsType[*acl.InvalidError](err); ok {
		return invalid(bad.Field, "%s.", sentence(bad.Text))
	}
	if stale, ok := errors.AsType[*tunnel.RevisionError](err); ok {
		return refuse(codePortsChanged, "The ports were changed meanwhile; they are at revision %d now.", stale.Have.Revision)
	}
	return nil
}

func offline(err error) *failure {
	f := refuse(codeOffline, "The device's agent is not connected and was never seen.")
	if o, ok := errors.AsType[*tunnel.OfflineError](err); ok && !o.LastSeen.IsZero() {
		f.lastSeen = o.LastSeen
		f.detail = "The device's agent is not connected. It was last seen at " + o.LastSeen.UTC().Format("2006-01-02 15:04:05 UTC") + "."
	}
	return f
}

// gaveUp reports whether the client went away before it was answered, which is
// nobody's fault.
func gaveUp(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}

// writeProblem sends a problem document.
func writeProblem(w http.ResponseWriter, p problem) {
	setProblemHeaders(w, p)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away: nothing to do
}

func setProblemHeaders(w http.ResponseWriter, p problem) {
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="borealis"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", fmt.Sprint(max(1, p.Retry)))
	}
}
