package views

import "time"

// Enrolment is the page of how machines come in.
type Enrolment struct {
	Now       time.Time
	New       string // the code string just made, shown this once; "" = none
	Uses      int    // what the form offers, or was given; 0 = 1
	TTL       string // as the form sends it: 1h, 24h or 168h; "" = 1h
	Site      string
	Approve   bool   // devices become active without a person's approval
	Error     Note   // why the form was refused; zero = it was not
	Field     string // the field at fault; "" = none
	Codes     []Code
	CanManage bool // may make and remove codes, and approve devices
	Wrong     WrongCodes
	Sites     SiteLocks
	Queue     Queue

	Address string         // host:port that machines reach the engine at
	Agents  []CarriedAgent // that the engine hands out, those for Windows first
	Drivers []KeptDriver   // one for each processor; shown to those who can manage
}

// CarriedAgent is the agent for one kind of machine, as a file that the engine carries.
type CarriedAgent struct {
	Name     string // of the file
	OS, Arch string // as Go names them
	Size     int64  // bytes
	SHA256   string
}

// KeptDriver is what an administrator gave the engine for the agents on Windows.
type KeptDriver struct {
	Arch    string // as Go names it
	Size    int64  // bytes; 0 = there is none
	SHA256  string
	Problem string // why the file that is there is of no use, as a sentence; "" = it is of use, or there is none
}

// Code is one enrolment code in the list; its secret is not known any more.
type Code struct {
	ID          string
	Uses, Used  int
	AutoApprove bool
	Site        string
	CreatedBy   string
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// Queue is the devices that wait for approval.
type Queue struct {
	Now       time.Time
	Waiting   []Waiting // who waits longest first
	Total     int       // how many wait, whatever is shown
	Most      int       // how many can wait at a time
	Life      time.Duration
	CanManage bool // may approve and deny
}

// Waiting is one device that waits for approval.
type Waiting struct {
	ID        string
	Hostname  string
	OS        string
	OSVersion string
	Arch      string
	Address   string // where its agent's connection comes from; "" = it is not connected
	Site      string
	Words     string // six words of its key
	Pin       string // SHA-256 of its key, as text
	Since     time.Time
	Known     Known // the device that was known on the same machine; zero = none
}

// Known is a device that another one may take the place of.
type Known struct {
	ID       string // "" = none
	Hostname string
	State    string
	LastSeen time.Time // zero = never
}

// WrongCodes are refused tries to enrol.
type WrongCodes struct {
	Now     time.Time
	Count   int       // in the last 24 hours
	Sources int       // addresses that the latest of them came from
	Many    bool      // so many that somebody should look
	Resting bool      // so many that enrolment rests
	Last    []Refusal // the newest first
}

// Refusal is one refused try to enrol.
type Refusal struct {
	At     time.Time
	Source string
	Reason string // code_unknown, code_used or code_expired
}

// SiteLocks are the sites, and which of them are locked.
type SiteLocks struct {
	Now       time.Time
	Rows      []SiteRow
	CanManage bool
	Error     Note // why a lock was refused; zero = it was not
}

// SiteRow is one site.
type SiteRow struct {
	Name      string
	Devices   int
	Operators int // on the tunnels of its devices
	Lock      Lock
}

// Lock keeps somebody out, or something closed. The zero Lock is none.
type Lock struct {
	Kind   string // operator, device or site
	Name   string // what is locked, for people
	Reason string
	By     string
	At     time.Time
	Until  time.Time // zero = until it is lifted
}

// Standing is what a device's head says about the trust in it.
type Standing struct {
	Words  string // six words of its key
	Known  Known  // the device that was known on the same machine; zero = none
	Setter string // who set it aside, for one that is quarantined; "" = the engine
	Reason string // why: cloned, identity_copied, or an operator's words
	SetAt  time.Time
	Locks  []Lock // on the device and on its site
}
