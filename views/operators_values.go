package views

import "time"

// Operators is the page of everybody who may sign in.
type Operators struct {
	Now   time.Time
	Rows  []OperatorRow
	Form  OperatorForm
	Made  NewPassword // just made, shown this once; zero = none
	Error Note        // why the form was refused; zero = it was not
}

// OperatorRow is one operator in the list.
type OperatorRow struct {
	ID       string
	Name     string
	Role     string
	Sites    []string // the only ones that exist for the operator; empty = every site
	Factors  string   // the second factors in words; "" = none
	Sessions int      // live ones
	Locked   bool
	LastSeen time.Time // zero = never
	You      bool
}

// OperatorForm is what the form of a new operator, or of a role, offers or was given.
type OperatorForm struct {
	Name   string
	Role   string
	Roles  []string // that may be given
	Scoped []string // of these, the ones that can be held to sites
	Sites  []string // chosen
	Known  []string // all there are
	Some   bool     // only the chosen sites
}

// NewPassword is a password that is shown once.
type NewPassword struct{ Name, Password string }

// Operator is the page of one operator.
type Operator struct {
	Now          time.Time
	ID           string
	Name         string
	Role         string
	Sites        []string
	You          bool // it is the operator who looks, who changes other things under Account
	HasPassword  bool
	CreatedAt    time.Time
	LastSeen     time.Time // zero = never
	TOTP         bool
	Passkeys     []string // their names
	RecoveryLeft int
	Sessions     []OperatorSession
	Tokens       []OperatorToken
	Lock         Lock
	Form         OperatorForm
	Made         NewPassword // just made, shown this once; zero = none
	Error        Note        // why a form was refused; zero = it was not
	Field        string      // the form at fault: role, lock or remove
}

// OperatorSession is one browser that is signed in.
type OperatorSession struct {
	ID        string
	Method    string // password, passkey or oidc
	Address   string
	Agent     string // what the browser says about itself
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
	Verified  time.Time // when a second factor was last proven; zero = never
	You       bool      // the session that looks
}

// OperatorToken is one API token; its secret is not known any more.
type OperatorToken struct {
	ID        string
	Label     string
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
}
