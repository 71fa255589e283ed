package views

import "time"

// Page is what the frame around every page needs.
type Page struct {
	Title      string    // what the page is, without the product's name
	Path       string    // path and query of the page; "" on answers that have none
	Section    string    // devices, tunnels, activity, enrolment, audit, operators or account; "" marks none in the navigation
	View       string    // which changes the page wants from /events: devices, tunnels, enrolment or device:ID; "" = only the frame's own
	Operator   string    // name of who is signed in; "" = nobody, drawn without navigation
	Theme      string    // light or dark; "" = as the browser likes it
	Version    string    // version of the engine
	Now        time.Time // when the answer was made
	Devices    int       // number of devices, for the navigation
	Tunnels    int       // number of live tunnels, for the navigation
	Pending    int       // number of devices that wait, for those who may approve them
	MayAudit   bool      // the operator may read the audit trail
	MayAppoint bool      // the operator may manage operators
	Banner     Note      // a lasting fault of the engine, such as "tunnels unavailable"; zero = none

	query string // what the search field holds
}

// Note is a message to a person. The zero Note is no message.
type Note struct {
	Kind string // ok, info, warn or err; "" = info
	Text string // what happened, one sentence
	Hint string // what to do about it; "" = nothing
}

// Devices is the list of devices.
type Devices struct {
	Now      time.Time
	Query    string   // the search text
	Site     string   // the only site that is listed; "" = every one
	State    string   // the only state that is listed; "" = every one
	Sites    []string // that there are to choose from
	Rows     []Row    // one page of what matches
	Matching int      // how many match in all
	Total    int      // how many there are
	Page     int      // 1 = first
	PageSize int      // rows in a full page
}

// Row is one device in the list.
type Row struct {
	ID          string
	Hostname    string
	OS          string // windows, linux, …
	OSVersion   string
	State       string // pending, active, quarantined or revoked
	Site        string
	Online      bool
	LastSeen    time.Time // zero = never
	TunnelState string    // as Tunnel.State
	VirtualIP   string
	Operators   int  // attached to the live tunnel
	Locked      bool // the device or its site is locked
}

// Tabs of the device page, as they stand in its address.
const (
	TabSummary  = "summary"
	TabConfig   = "config"
	TabShell    = "powershell"
	TabActivity = "activity"
	TabTimeline = "timeline"
)

// Device is the device page, whole or in parts.
type Device struct {
	Now          time.Time
	Tab          string // one of the Tab constants
	ID           string
	Hostname     string
	OS           string // windows, linux, …
	OSVersion    string
	Arch         string
	AgentVersion string
	Link         string // how the agent makes its end of a tunnel: wireguard-nt, netstack, …
	Pin          string // SHA-256 of the agent's identity key, as text
	Site         string
	State        string    // pending, active, quarantined or revoked
	CreatedAt    time.Time // when it was enrolled
	LastSeen     time.Time // zero = never
	Online       bool
	OnlineSince  time.Time
	Address      string // where the agent's connection comes from, while online
	VirtualIP    string // its leased address; "" = none yet
	Tunnel       Tunnel // the live tunnel, else the last one
	Attached     bool   // the operator who looks holds the live tunnel
	CanManage    bool   // the operator may approve, revoke and stop for everyone
	CanConnect   bool   // the operator may connect, and so look for what is in the way of that
	Unavailable  string // why the engine cannot make tunnels at all; "" = it can
	Allowed      []Port // what the tunnel opens, or would open; the tunnel card shows it
	Ports        Ports  // what the config tab shows; the head warns of its alarms
	Events       []Event
	Older        int64 // activity tab: id to ask with ?before= for more; 0 = no more
	Before       int64 // activity tab: the ?before= this page was asked with; 0 = newest
	Standing     Standing
	Update       UpdateNote
	Inventory    Inventory
	Doctor       Doctor   // what is in the way, once somebody asked
	History      History  // what the timeline tab shows
	Endings      []Ending // of a whole page: all there are, which the terminal tells without asking
}

// Tunnel is one tunnel of a device.
type Tunnel struct {
	ID            string
	DeviceID      string
	Hostname      string // for the list of tunnels
	State         string // down, requested, offered, ready, peered, up, closing, ended; "" = down
	End           Ending
	VirtualIP     string
	EngineIP      string
	Endpoint      string // host:port of the engine's WireGuard
	ServerKey     string // WireGuard public key of the engine
	AgentKey      string // WireGuard public key of the agent
	Mode          string // kernel, tun or netstack
	RequestedAt   time.Time
	UpAt          time.Time
	EndedAt       time.Time
	LastHandshake time.Time
	ReceivedBytes int64 // from the device
	SentBytes     int64 // to the device
	Idle          time.Duration
	IdleRemaining time.Duration
	Operators     []Attached
	Steps         []Step
}

// Live says that the tunnel exists or is being made or torn down.
func (t Tunnel) Live() bool {
	switch t.State {
	case "requested", "offered", "ready", "peered", "up", "closing":
		return true
	}
	return false
}

// Up says that the tunnel carries traffic.
func (t Tunnel) Up() bool { return t.State == "up" }

// Attached is one operator's hold on a tunnel.
type Attached struct {
	Name  string
	Kind  string // connect, terminal, forward; "" = connect
	Since time.Time
	You   bool // the operator who looks
}

// Step is one step of a tunnel's coming up or going down.
type Step struct {
	Name   string // requested, offered, ready, peered, up, closing, ended, …
	At     time.Time
	Detail string
}

// Port is a port that a tunnel opens.
type Port struct {
	Name string // of the service, such as RDP, or the label of a custom port; may be ""
	Port string // such as 3389/tcp
}

// Tunnels is the page of live tunnels.
type Tunnels struct {
	Now    time.Time
	Engine Link
	Live   []Tunnel
}

// Link is the engine's end of all tunnels.
type Link struct {
	Mode   string // kernel, tun or netstack
	Reason string // why that mode was chosen, one sentence
	Name   string // name of the interface; "" in netstack mode
	Port   int    // UDP port
	Error  string // why tunnels are unavailable; "" = they are available

	Firewall Firewall // what keeps other ports shut
}

// Firewall is what keeps the ports shut that are not allowed.
type Firewall struct {
	Kind       string    // iptables, or none: the engine's own program does it
	Error      string    // why it is not known to be right; "" = it is
	RepairedAt time.Time // when it was last mended; zero = never
	Detail     string    // what was wrong then, a sentence
}

// Problem is an error page.
type Problem struct {
	Status int    // HTTP status, shown small
	Title  string // what went wrong in a few words
	Detail string // one sentence more; "" = none
	Hint   string // what to do; "" = none
	Code   string // stable code, to be quoted to support
}
