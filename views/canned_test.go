package views

import (
	"maps"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// hostile is what an agent may send as its name: markup, control characters, a
// mark that turns the writing direction, and more than fits.
var hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e\u0000" + strings.Repeat("långt namn ", 60)

var now = time.Date(2026, 11, 22, 20, 24, 52, 0, time.UTC)

const deviceID = "0199f1c2-7a10-7cc3-9a11-5c0ffee00142"

func cannedPage() Page {
	return Page{
		Title: "Devices", Path: "/devices?q=fin", Section: "devices", View: "devices", Operator: "nora", Version: "1.2.3",
		Now: now, Devices: 128, Tunnels: 3,
	}
}

// Ends of tunnels of each kind.
var (
	cannedLeft    = Ending{Reason: "operator_left", Text: "the last operator left", Kind: "idle"}
	cannedIdle    = Ending{Reason: "idle_timeout", Text: "nobody used it for the whole idle time", Hint: "Connect again.", Kind: "warn"}
	cannedSilent  = Ending{Reason: "handshake_timeout", Text: "no WireGuard handshake came about", Hint: "Let UDP pass.", Kind: "err"}
	hostileEnding = Ending{Reason: hostile, Text: hostile, Hint: hostile, Kind: hostile}
)

func cannedTunnel() Tunnel {
	return Tunnel{
		ID: "0199f1c2-7a10-7cc3-9a11-5c0ffee07000", DeviceID: deviceID, Hostname: "FIN-LT-0142", State: "up",
		VirtualIP: "10.255.0.42", EngineIP: "10.255.0.1", Endpoint: "borealis.example:30000", Mode: "kernel",
		ServerKey: "c2VydmVy", AgentKey: "kq5N0hT2m7rWv1cQyq9b4mTn3l8cQpXo5f0u2r7aWkE=",
		RequestedAt: now.Add(-time.Minute), UpAt: now.Add(-59 * time.Second), LastHandshake: now.Add(-20 * time.Second),
		ReceivedBytes: 4823449, SentBytes: 1234, Idle: 15 * time.Minute, IdleRemaining: 13*time.Minute + 41*time.Second,
		Operators: []Attached{{Name: "nora", You: true, Since: now}, {Name: "jon", Kind: "terminal", Since: now}},
		Steps: []Step{
			{Name: "requested", At: now},
			{Name: "offered", At: now.Add(2 * time.Millisecond)},
			{Name: "ready", At: now.Add(12 * time.Millisecond)},
			{Name: "peered", At: now.Add(13 * time.Millisecond)},
			{Name: "up", At: now.Add(40 * time.Millisecond), Detail: "handshake 27 ms"},
		},
	}
}

func cannedAllowed() []Port {
	return []Port{{"PowerShell", "47002/tcp"}, {"RDP", "3389/tcp"}, {"RDP", "3389/udp"}, {"", "8443/tcp"}}
}

// cannedPorts has a row of every kind: a default, an override, one that ends, a custom
// port and one without a name, and a check that found all to be as shown.
func cannedPorts() Ports {
	return Ports{
		Now: now, DeviceID: deviceID, Revision: 7, CanChange: true, CanCheck: true, Tunnel: "up", Confirmed: true,
		Changed: PortChange{By: "jon", At: now.Add(-time.Hour), What: "VNC closed"},
		Rows: []PortRow{
			{ID: "powershell", Name: "PowerShell", Hint: "Live shell", Ports: []string{"47002/tcp"}, Allowed: true, Default: true, Probes: []Probe{{"47002/tcp", "answers"}}},
			{
				ID: "rdp", Name: "RDP", Hint: "Remote Desktop", Ports: []string{"3389/tcp", "3389/udp"}, Allowed: true, Default: true,
				Probes: []Probe{{"3389/tcp", "answers"}, {"3389/udp", "silent"}},
			},
			{
				ID: "ssh", Name: "SSH", Ports: []string{"22/tcp"}, Allowed: true, By: "nora", At: now.Add(-5 * time.Minute), Until: now.Add(25 * time.Minute),
				Reason: "patch night", Probes: []Probe{{"22/tcp", "no_listener"}},
			},
			{ID: "vnc", Name: "VNC", Hint: "Screen sharing", Ports: []string{"5900/tcp"}, Default: true, By: "jon", At: now.Add(-time.Hour), Probes: []Probe{{"5900/tcp", "refused"}}},
			{ID: "tcp-8443", Custom: true, Ports: []string{"8443/tcp"}, Allowed: true, By: "jon", At: now.Add(-time.Hour), Probes: []Probe{{"8443/tcp", "answers"}}},
			{ID: "udp-5000-5010", Custom: true, Name: "Cameras", Ports: []string{"5000-5010/udp"}, Allowed: true, By: "jon", At: now.Add(-time.Hour)},
		},
		Proof: Proof{
			At: now.Add(-2 * time.Second), Took: 212 * time.Millisecond, By: "iptables", Refused: 61,
			Open: []Probe{{"47002/tcp", "answers"}, {"3389/tcp", "answers"}, {"3389/udp", "silent"}, {"22/tcp", "no_listener"}},
		},
	}
}

// alarmedPorts is a check that found a closed port open.
func alarmedPorts() Ports {
	v := cannedPorts()
	v.Proof.Alarms = []string{"5900/tcp is closed, but it answers.", hostile}
	v.Proof.Reachable = []Probe{{"5900/tcp", "reachable"}}
	v.Rows[3].Probes = []Probe{{"5900/tcp", "reachable"}}
	v.Confirmed = false
	return v
}

// hostilePorts holds what people and devices may call things.
func hostilePorts() Ports {
	v := alarmedPorts()
	v.DeviceID = `x"/../<b>?#`
	for i := range v.Rows {
		r := &v.Rows[i]
		r.Name, r.Hint, r.By, r.Reason, r.At, r.Ports = hostile, hostile, hostile, hostile, now, []string{hostile}
		r.Probes = []Probe{{hostile, hostile}}
	}
	v.Changed = PortChange{By: hostile, At: now, What: hostile}
	v.Error = Note{Kind: "err", Text: hostile, Hint: hostile}
	v.Ask = Ask{Title: hostile, Text: hostile, Do: hostile, Act: "set"}
	v.Toast = PortToast{Note: Note{Kind: "err", Text: hostile, Hint: hostile}, Act: "undo", Do: "Undo"}
	return v
}

// refusedPorts has what was wrong in it, at the fields.
func refusedPorts() Ports {
	v := cannedPorts()
	v.Adding = PortForm{Protocol: "udp", Port: "70000", Label: "Web", Field: "port", Error: "There is no port 70000; ports are from 1 to 65535."}
	v.Rows[2].Form = PortForm{Allowed: true, For: "until", Until: "2026-11-22T19:00", Field: "until", Error: "The end of the override is in the past; choose a later time."}
	return v
}

func cannedEvents() []Event {
	return []Event{
		{ID: 9, At: now.Add(-time.Second), DeviceID: deviceID, Hostname: "FIN-LT-0142", Actor: "nora", Kind: "tunnel_up", Detail: "in 40 ms"},
		{ID: 8, At: now.Add(-time.Hour), DeviceID: deviceID, Hostname: hostile, Actor: hostile, Kind: hostile, Detail: hostile},
		{ID: 7, At: now.Add(-26 * time.Hour), DeviceID: deviceID, Actor: "engine", Kind: "tunnel_down", Reason: "idle_timeout", End: cannedIdle},
		{ID: 6, At: now.Add(-90 * time.Hour), Actor: "jon", Kind: "signed_in"},
	}
}

func cannedDevice(tab string) Device {
	return Device{
		Now: now, Tab: tab, ID: deviceID, Hostname: "FIN-LT-0142", OS: "windows", OSVersion: "Windows 11 Pro 24H2", Arch: "amd64",
		AgentVersion: "1.2.3", Link: "wireguard-nt", Pin: strings.Repeat("mfrgg", 10) + "ab", Site: "Oslo / Finance", State: "active",
		CreatedAt: now.Add(-80 * time.Hour), LastSeen: now, Online: true, OnlineSince: now.Add(-3 * time.Hour), Address: "203.0.113.24:51022",
		VirtualIP: "10.255.0.42", Tunnel: cannedTunnel(), Attached: true, CanManage: true, Allowed: cannedAllowed(), Ports: cannedPorts(), Events: cannedEvents(), Older: 6,
		Inventory: cannedInventory(), Update: UpdateNote{Available: "1.3.0"},
		CanConnect: true, Doctor: cannedDoctor(), History: cannedHistory(), Endings: []Ending{cannedLeft, cannedIdle, cannedSilent},
	}
}

func hostileDevice(tab string) Device {
	v := cannedDevice(tab)
	v.ID = `x"/../<b>?#`
	v.Hostname, v.OS, v.OSVersion, v.Arch, v.AgentVersion, v.Link, v.Site = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	v.Address, v.Pin, v.Unavailable = hostile, hostile, hostile
	v.Tunnel.Hostname, v.Tunnel.Endpoint, v.Tunnel.AgentKey, v.Tunnel.VirtualIP, v.Tunnel.Mode = hostile, hostile, hostile, hostile, hostile
	v.Tunnel.Operators = []Attached{{Name: hostile}, {Name: hostile}, {Name: "jon"}}
	v.Tunnel.Steps = []Step{{Name: hostile, At: now, Detail: hostile}, {Name: "up", At: now}}
	v.Allowed, v.Ports = []Port{{hostile, hostile}}, hostilePorts()
	v.Inventory = hostileInventory()
	v.Doctor, v.History, v.Endings = hostileDoctor(), hostileHistory(), []Ending{hostileEnding}
	v.Update = UpdateNote{Available: hostile, Version: hostile, Outcome: "failed", Detail: hostile, At: now}
	return v
}

func cannedDevices() Devices {
	return Devices{
		Now: now, Total: 128, Matching: 128, Page: 1, PageSize: 3,
		Rows: []Row{
			{ID: deviceID, Hostname: "FIN-LT-0142", OS: "windows", OSVersion: "Windows 11", State: "active", Site: "Oslo", Online: true, TunnelState: "up", VirtualIP: "10.255.0.42", Operators: 2},
			{ID: "2", Hostname: hostile, OS: hostile, OSVersion: hostile, State: hostile, Site: hostile, LastSeen: now.Add(-time.Hour)},
			{ID: "3", Hostname: "kiosk", OS: "linux", OSVersion: "Debian GNU/Linux 12", State: "pending", Online: true, TunnelState: "offered"},
		},
	}
}

func cannedEnrolment() Enrolment {
	return Enrolment{
		Now: now, CanManage: true, New: "brl1.[::1]:8443.mfrgg.JBSWY3DPEHPK3PXP", Uses: 5, TTL: "24h", Site: hostile,
		Error: Note{Kind: "err", Text: hostile, Hint: hostile},
		Codes: []Code{
			{ID: "c1", Uses: 5, Used: 2, Site: hostile, CreatedBy: hostile, CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour)},
			{ID: "c2", Uses: 1, Used: 1, AutoApprove: true, CreatedBy: "jon", CreatedAt: now, ExpiresAt: now.Add(time.Hour)},
			{ID: "c3", Uses: 1, CreatedBy: "jon", CreatedAt: now.Add(-9 * time.Hour), ExpiresAt: now.Add(-time.Hour)},
		},
		Address: "[::1]:8443", Agents: cannedAgents(),
		Drivers: []KeptDriver{{Arch: "amd64", Size: 1 << 20, SHA256: strings.Repeat("d", 64)}, {Arch: "arm64", Problem: hostile}, {Arch: hostile}},
	}
}

// cannedPages are whole pages, in all their states.
func cannedPages() map[string]templ.Component {
	p := cannedPage()
	hostilePage := p
	hostilePage.Title, hostilePage.Operator, hostilePage.Version, hostilePage.Path, hostilePage.Theme = hostile, hostile, hostile, hostile, "dark"
	hostilePage.Banner = Note{Kind: "err", Text: hostile, Hint: hostile}
	bare := p
	bare.Operator = ""

	hostileSearch := cannedDevices()
	hostileSearch.Query, hostileSearch.Page = hostile, 2
	down, pending, lost, joined, ended, linux := cannedDevice(TabSummary), cannedDevice(TabSummary), cannedDevice(TabShell), cannedDevice(TabShell), cannedDevice(TabSummary), cannedDevice(TabShell)
	down.Tunnel, down.Attached, down.Events, down.Allowed, down.Ports = Tunnel{}, false, nil, nil, Ports{}
	down.Inventory = Inventory{}
	pending.State, pending.Tunnel, pending.Attached = "pending", Tunnel{}, false
	lost.Online, lost.Tunnel, lost.Attached, lost.LastSeen = false, Tunnel{}, false, time.Time{}
	joined.Attached = false
	ended.Tunnel.State, ended.Tunnel.End, ended.Tunnel.EndedAt, ended.Attached = "ended", cannedSilent, now, false
	linux.OS = "linux"
	ended.Doctor = Doctor{}
	nothing := cannedDevice(TabTimeline)
	nothing.History = History{}
	alarmed, refused, viewer := cannedDevice(TabConfig), cannedDevice(TabConfig), cannedDevice(TabConfig)
	alarmed.Ports, refused.Ports = alarmedPorts(), refusedPorts()
	viewer.Ports.CanChange, viewer.Ports.CanCheck = false, false

	all := map[string]templ.Component{
		"login":            LoginPage(Login{}),
		"login hostile":    LoginPage(Login{Theme: "light", Name: hostile, Next: hostile, Error: Note{Kind: "err", Text: hostile}}),
		"devices":          DevicesPage(p, cannedDevices()),
		"devices none":     DevicesPage(p, Devices{Now: now}),
		"devices no match": DevicesPage(p, Devices{Now: now, Query: "x", Total: 3}),
		"devices hostile":  DevicesPage(hostilePage, hostileSearch),
		"summary":          DevicePage(p, cannedDevice(TabSummary)),
		"summary down":     DevicePage(p, down),
		"summary pending":  DevicePage(p, pending),
		"summary ended":    DevicePage(p, ended),
		"summary hostile":  DevicePage(hostilePage, hostileDevice(TabSummary)),
		"config":           DevicePage(p, cannedDevice(TabConfig)),
		"config alarmed":   DevicePage(p, alarmed),
		"config refused":   DevicePage(p, refused),
		"config viewer":    DevicePage(p, viewer),
		"config hostile":   DevicePage(hostilePage, hostileDevice(TabConfig)),
		"shell":            DevicePage(p, cannedDevice(TabShell)),
		"shell offline":    DevicePage(p, lost),
		"shell joinable":   DevicePage(p, joined),
		"shell linux":      DevicePage(p, linux),
		"shell hostile":    DevicePage(hostilePage, hostileDevice(TabShell)),
		"timeline":         DevicePage(p, cannedDevice(TabTimeline)),
		"timeline none":    DevicePage(p, nothing),
		"timeline hostile": DevicePage(hostilePage, hostileDevice(TabTimeline)),
		"activity":         DevicePage(p, cannedDevice(TabActivity)),
		"activity all":     ActivityPage(p, Activity{Now: now, Events: cannedEvents(), Older: 6, Before: 10}),
		"activity none":    ActivityPage(p, Activity{Now: now}),
		"tunnels":          TunnelsPage(p, Tunnels{Now: now, Engine: Link{Mode: "netstack", Port: 30000, Reason: hostile, Firewall: Firewall{Kind: "none"}}, Live: []Tunnel{cannedTunnel()}}),
		"tunnels none":     TunnelsPage(p, Tunnels{Now: now, Engine: Link{Port: 30000, Error: hostile, Firewall: Firewall{Kind: "iptables", Error: hostile}}}),
		"enrolment":        EnrolmentPage(p, cannedEnrolment()),
		"enrolment empty":  EnrolmentPage(p, Enrolment{Now: now, CanManage: true}),
		"enrolment viewer": EnrolmentPage(p, Enrolment{Now: now}),
		"error":            ErrorPage(hostilePage, Problem{Status: 404, Title: hostile, Detail: hostile, Hint: hostile, Code: "not_found"}),
		"error signed out": ErrorPage(bare, Problem{Status: 401, Title: "You are not signed in", Code: "unauthenticated"}),
	}
	maps.Copy(all, cannedPeoplePages())
	maps.Copy(all, cannedSignInPages())
	maps.Copy(all, cannedAuditPages())
	return all
}

// cannedParts are what stands in for a piece of a page.
func cannedParts() map[string]templ.Component {
	p := cannedPage()
	all := map[string]templ.Component{
		"list":          DeviceList(cannedDevices()),
		"panel":         DevicePanel(hostileDevice(TabConfig)),
		"ports":         PortsCard(hostilePorts()),
		"head":          DeviceHead(hostileDevice(TabSummary)),
		"tunnel card":   TunnelCard(hostileDevice(TabSummary)),
		"doctor":        DoctorCard(hostileDevice(TabSummary)),
		"findings":      DoctorFindings(hostileDoctor()),
		"recent":        RecentActivity(hostileDevice(TabSummary)),
		"hardware":      HardwareCard(hostileDevice(TabSummary)),
		"own policy":    OwnPolicy(hostileDevice(TabSummary)),
		"update":        AgentUpdate(hostileDevice(TabSummary)),
		"start":         TerminalStart(hostileDevice(TabSummary)),
		"enrolment":     EnrolmentPanel(cannedEnrolment()),
		"toast":         Toast(Note{Kind: "err", Text: hostile, Hint: hostile}),
		"tunnel list":   TunnelList(Tunnels{Now: now, Engine: Link{Mode: "kernel", Firewall: Firewall{Kind: "iptables", RepairedAt: now, Detail: hostile, Error: ""}}, Live: []Tunnel{cannedTunnel()}}),
		"sidebar":       Sidebar(p),
		"banner":        Banner(Note{Text: hostile}),
		"device row":    DeviceRow(now, Row{ID: "1", Hostname: hostile}),
		"device row up": DeviceRow(now, cannedDevices().Rows[0]),
	}
	maps.Copy(all, cannedPeopleParts())
	maps.Copy(all, cannedSignInParts())
	maps.Copy(all, cannedAuditParts())
	return all
}

// cannedAgents are what a build puts into an engine.
func cannedAgents() []CarriedAgent {
	return []CarriedAgent{
		{Name: "borealis-agent-windows-amd64.exe", OS: "windows", Arch: "amd64", Size: 14 << 20, SHA256: strings.Repeat("a1", 32)},
		{Name: "borealis-agent-windows-arm64.exe", OS: "windows", Arch: "arm64", Size: 13 << 20, SHA256: strings.Repeat("b2", 32)},
		{Name: "borealis-agent-linux-amd64", OS: "linux", Arch: "amd64", Size: 14 << 20, SHA256: strings.Repeat("c3", 32)},
	}
}
