package views

import "time"

// Ports is the card of a device's allowed ports.
type Ports struct {
	Now       time.Time
	DeviceID  string
	Revision  int64 // of what is shown; each form names it
	Rows      []PortRow
	Changed   PortChange // the last change; zero = there was none
	CanChange bool       // the operator may change them
	CanCheck  bool       // the operator may ask for a proof
	Tunnel    string     // state of the tunnel, as Tunnel.State
	Confirmed bool       // the agent of the live tunnel said that it enforces what is shown
	Proof     Proof      // zero = none yet
	Proving   bool       // one is being made

	Saved  []string  // ids of the rows that were just changed
	Adding PortForm  // what was filled in for a new port
	Error  Note      // why a form was refused that has no place of its own; zero = none
	Ask    Ask       // a question to be answered before something is done; zero = none
	Toast  PortToast // zero = none
}

// PortRow is one service or one custom port.
type PortRow struct {
	ID      string // the service's, or such as tcp-5000-5010
	Custom  bool
	Name    string // of the service, or the label of the custom port; may be "" for the latter
	Hint    string
	Ports   []string // such as 3389/tcp
	Allowed bool
	Default bool // what holds without an override
	By      string
	At      time.Time // zero = nobody decided anything: the default holds
	Until   time.Time // zero = for good
	Reason  string
	Probes  []Probe // of the last proof, when it is about what is shown

	Form PortForm // what was filled in when it was refused
}

// PortForm is what a person filled in, with what is wrong with it.
type PortForm struct {
	Protocol string // of a new port: tcp or udp
	Port     string // of a new port: 8443 or 5000-5010
	Label    string // of a new port
	For      string // 30m, 2h, 8h or until; "" = for good
	Until    string // as the form sends it
	Reason   string
	Allowed  bool   // of a row: what it was to become
	Field    string // which of them is wrong: port, label, until or reason; "" = none
	Error    string // what is wrong with it
}

// PortChange says who changed a device's ports when.
type PortChange struct {
	By   string // "" = the engine, such as when something expired
	At   time.Time
	What string
}

// Ask is a question before something is done; Fields are sent again with the answer.
type Ask struct {
	Title  string // "" = there is no question
	Text   string
	Do     string // what the button says
	Act    string // last part of the path that it is sent to
	Fields []Field
}

// Field is one hidden field of a form.
type Field struct{ Name, Value string }

// PortToast is a message about a change, with what can be done about it.
type PortToast struct {
	Note
	Act    string // last part of the path that the button's form is sent to; "" = no button
	Do     string // what the button says
	Fields []Field
}

// Proof is what probing a live tunnel showed.
type Proof struct {
	At        time.Time // zero = there is none
	Took      time.Duration
	Stale     bool   // it is about ports that have been changed since
	By        string // what refuses on the engine: iptables or dialer
	Open      []Probe
	Refused   int      // how many of the sample of other ports are refused
	Reachable []Probe  // those that are not
	Alarms    []string // what is not as shown, one sentence each
}

// Probe is a port and what became of an attempt to reach it.
type Probe struct {
	Port   string // such as 3389/tcp
	Result string // answers, no_listener, refused_by_device, silent, refused, blocked or reachable
}
