package handlers

import (
	"net/http"
	"time"

	"borealis/store"

	"github.com/go-chi/chi/v5"
)

// An operatorsAnswer is everybody who may sign in, by name.
type operatorsAnswer struct {
	Operators []operatorAnswer `json:"operators"`
}

// An operatorAnswer is one operator.
type operatorAnswer struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Role         string      `json:"role"`
	Sites        []string    `json:"sites"`    // the only ones that exist for the operator; none: every site
	Password     bool        `json:"password"` // has one; else only an identity provider lets the operator in
	TOTP         bool        `json:"totp"`
	Passkeys     int         `json:"passkeys"`
	RecoveryLeft int         `json:"recovery_codes_left"`
	Sessions     int         `json:"sessions"` // live ones
	Lock         *lockAnswer `json:"lock"`     // null when there is none
	CreatedAt    *time.Time  `json:"created_at"`
	LastSeen     *time.Time  `json:"last_seen"` // null when never
}

// An operatorDetail is one operator with what only its own route tells.
type operatorDetail struct {
	operatorAnswer
	Tokens []tokenAnswer `json:"tokens"`
}

// A tokenAnswer is one API token; its secret is not known any more.
type tokenAnswer struct {
	ID        string     `json:"id"`
	Label     string     `json:"label"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null when never
}

// A newOperator is the body of POST /api/operators.
type newOperator struct {
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	Sites []string `json:"sites"` // none: every site
}

// A newOperatorAnswer has the password, which is told this once.
type newOperatorAnswer struct {
	operatorAnswer
	NewPassword string `json:"new_password"`
}

// A roleRequest is the body of PUT /api/operators/{id}/role. Both fields are needed: a
// role must not widen by what is left out.
type roleRequest struct {
	Role  string    `json:"role"`
	Sites *[]string `json:"sites"` // none: every site
}

// A passwordAnswer has a password, which is told this once.
type passwordAnswer struct {
	NewPassword string `json:"new_password"`
}

// A removedAnswer names what is gone.
type removedAnswer struct {
	Removed string `json:"removed"` // id
}

// A sessionsAnswer is browsers that are signed in, the newest session first.
type sessionsAnswer struct {
	Sessions []sessionAnswer `json:"sessions"`
}

// A sessionAnswer is one browser that is signed in.
type sessionAnswer struct {
	ID         string     `json:"id"`
	OperatorID string     `json:"operator_id"`
	Method     string     `json:"method"` // password, passkey or oidc
	Address    string     `json:"address"`
	UserAgent  string     `json:"user_agent"` // what the browser says about itself
	CreatedAt  *time.Time `json:"created_at"`
	SeenAt     *time.Time `json:"seen_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	VerifiedAt *time.Time `json:"verified_at"` // when a second factor was last proven; null when never
	Current    bool       `json:"current"`     // the one that asks
}

func answerOperator(k knownOperator) operatorAnswer {
	a := operatorAnswer{
		ID: k.ID, Name: k.Name, Role: k.Role, Sites: append([]string{}, k.Sites...), Password: k.PasswordHash != "",
		TOTP: k.factors.TOTP, Passkeys: len(k.factors.Passkeys), RecoveryLeft: k.factors.RecoveryLeft,
		Sessions: len(k.sessions), CreatedAt: moment(k.CreatedAt), LastSeen: moment(k.lastSeen),
	}
	if k.lock.Kind != "" {
		lock := answerLock(k.lock)
		a.Lock = &lock
	}
	return a
}

// apiOperators lists the operators.
func (s *Server) apiOperators(r *http.Request, _ principal) (any, error) {
	all, err := s.operators(r.Context(), time.Now())
	if err != nil {
		return nil, err
	}
	a := operatorsAnswer{Operators: []operatorAnswer{}}
	for _, k := range all {
		a.Operators = append(a.Operators, answerOperator(k))
	}
	return a, nil
}

// apiOperator is one operator.
func (s *Server) apiOperator(r *http.Request, _ principal) (any, error) {
	o, err := s.readOperator(r.Context(), chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	return s.operatorDetail(r, o)
}

func (s *Server) operatorDetail(r *http.Request, o store.Operator) (operatorDetail, error) {
	k, err := s.knownNow(r.Context(), o)
	if err != nil {
		return operatorDetail{}, err
	}
	tokens, err := s.config.Store.APITokens(r.Context(), o.ID)
	if err != nil {
		return operatorDetail{}, err
	}
	a := operatorDetail{operatorAnswer: answerOperator(k), Tokens: []tokenAnswer{}}
	for _, one := range tokens {
		a.Tokens = append(a.Tokens, tokenAnswer{ID: one.ID, Label: one.Label, CreatedAt: moment(one.CreatedAt), ExpiresAt: moment(one.ExpiresAt)})
	}
	return a, nil
}

// apiAddOperator adds an operator.
func (s *Server) apiAddOperator(r *http.Request, p principal) (any, error) {
	var q newOperator
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	o, password, err := s.addOperator(r.Context(), p, q.Name, q.Role, q.Sites)
	if err != nil {
		return nil, err
	}
	k, err := s.knownNow(r.Context(), o)
	return newOperatorAnswer{operatorAnswer: answerOperator(k), NewPassword: password}, err
}

// apiSetRole changes what an operator may do and which sites exist for them.
func (s *Server) apiSetRole(r *http.Request, p principal) (any, error) {
	var q roleRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.Sites == nil {
		return nil, invalid("sites", "Say which sites exist for the operator; an empty list means every site.")
	}
	id := chi.URLParam(r, "id")
	if err := s.setRole(r.Context(), p, id, q.Role, *q.Sites); err != nil {
		return nil, err
	}
	return s.apiOperator(r, p)
}

// apiResetPassword gives an operator a new password.
func (s *Server) apiResetPassword(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	_, password, err := s.resetPassword(r.Context(), p, chi.URLParam(r, "id"))
	return passwordAnswer{password}, err
}

// apiResetFactors takes all second factors from an operator.
func (s *Server) apiResetFactors(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	if err := s.resetFactors(r.Context(), p, chi.URLParam(r, "id")); err != nil {
		return nil, err
	}
	return s.apiOperator(r, p)
}

// apiRemoveOperator removes an operator.
func (s *Server) apiRemoveOperator(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	return removedAnswer{id}, s.removeOperator(r.Context(), p, id)
}

// apiSessions lists who is signed in: ?operator_id= chooses.
func (s *Server) apiSessions(r *http.Request, p principal) (any, error) {
	id := r.URL.Query().Get("operator_id")
	if id != "" {
		if _, err := s.readOperator(r.Context(), id); err != nil {
			return nil, err
		}
	}
	all, err := s.config.Store.Sessions(r.Context(), id)
	if err != nil {
		return nil, err
	}
	a := sessionsAnswer{Sessions: []sessionAnswer{}}
	for _, one := range liveSessions(all, time.Now()) {
		a.Sessions = append(a.Sessions, sessionAnswer{
			ID: one.ID, OperatorID: one.OperatorID, Method: one.Method, Address: one.RemoteAddr, UserAgent: one.UserAgent,
			CreatedAt: moment(one.CreatedAt), SeenAt: moment(one.SeenAt), ExpiresAt: moment(one.ExpiresAt),
			VerifiedAt: moment(one.VerifiedAt), Current: one.ID == p.session.ID,
		})
	}
	return a, nil
}

// apiRevokeSession ends a session, whoever has it.
func (s *Server) apiRevokeSession(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	return removedAnswer{id}, s.revokeSession(r.Context(), p, "", id)
}

// apiRevokeToken ends an API token of an operator.
func (s *Server) apiRevokeToken(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "token")
	return removedAnswer{id}, s.revokeToken(r.Context(), p, chi.URLParam(r, "id"), id)
}

// noFields refuses a body that says something to a route which asks for nothing.
func noFields(r *http.Request) error { return decodeAny(r, &struct{}{}) }
