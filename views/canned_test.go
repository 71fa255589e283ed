package views

import (
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

func cannedPorts() []Port {
	return []Port{
		{Allowed: true, Service: "PowerShell", Hint: "Live shell", Port: "47002/tcp"},
		{Allowed: true, Service: "RDP", Hint: "Remote Desktop", Port: "3389/tcp", Source: "override"},
		{Service: "SSH", Port: "22/tcp", Source: "refused"},
	}
}

func cannedEvents() []Event {
	return []Event{
		{ID: 9, At: now.Add(-time.Second), DeviceID: deviceID, Hostname: "FIN-LT-0142", Actor: "nora", Kind: "tunnel_up", Detail: "in 40 ms"},
		{ID: 8, At: now.Add(-time.Hour), DeviceID: deviceID, Hostname: hostile, Actor: hostile, Kind: hostile, Detail: hostile},
		{ID: 7, At: now.Add(-26 * time.Hour), DeviceID: deviceID, Actor: "engine", Kind: "tunnel_down", Reason: "idle_timeout"},
		{ID: 6, At: now.Add(-90 * time.Hour), Actor: "jon", Kind: "signed_in"},
	}
}

func cannedDevice(tab string) Device {
	return Device{
		Now: now, Tab: tab, ID: deviceID, Hostname: "FIN-LT-0142", OS: "windows", OSVersion: "Windows 11 Pro 24H2", Arch: "amd64",
		AgentVersion: "1.2.3", Link: "wireguard-nt", Pin: strings.Repeat("mfrgg", 10) + "ab", Site: "Oslo / Finance", State: "active",
		CreatedAt: now.Add(-80 * time.Hour), LastSeen: now, Online: true, OnlineSince: now.Add(-3 * time.Hour), Address: "203.0.113.24:51022",
		VirtualIP: "10.255.0.42", Tunnel: cannedTunnel(), Attached: true, CanManage: true, Ports: cannedPorts(), Events: cannedEvents(), Older: 6,
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
	v.Ports = []Port{{Allowed: true, Service: hostile, Hint: hostile, Port: hostile, Source: hostile}}
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
	down.Tunnel, down.Attached, down.Events, down.Ports = Tunnel{}, false, nil, nil
	pending.State, pending.Tunnel, pending.Attached = "pending", Tunnel{}, false
	lost.Online, lost.Tunnel, lost.Attached, lost.LastSeen = false, Tunnel{}, false, time.Time{}
	joined.Attached = false
	ended.Tunnel.State, ended.Tunnel.Reason, ended.Tunnel.EndedAt, ended.Attached = "ended", "handshake_timeout", now, false
	linux.OS = "linux"

	return map[string]templ.Component{
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
		"config hostile":   DevicePage(hostilePage, hostileDevice(TabConfig)),
		"shell":            DevicePage(p, cannedDevice(TabShell)),
		"shell offline":    DevicePage(p, lost),
		"shell joinable":   DevicePage(p, joined),
		"shell linux":      DevicePage(p, linux),
		"shell hostile":    DevicePage(hostilePage, hostileDevice(TabShell)),
		"activity":         DevicePage(p, cannedDevice(TabActivity)),
		"activity all":     ActivityPage(p, Activity{Now: now, Events: cannedEvents(), Older: 6, Before: 10}),
		"activity none":    ActivityPage(p, Activity{Now: now}),
		"tunnels":          TunnelsPage(p, Tunnels{Now: now, Engine: Link{Mode: "netstack", Port: 30000, Reason: hostile}, Live: []Tunnel{cannedTunnel()}}),
		"tunnels none":     TunnelsPage(p, Tunnels{Now: now, Engine: Link{Port: 30000, Error: hostile}}),
		"enrolment":        EnrolmentPage(p, cannedEnrolment()),
		"enrolment empty":  EnrolmentPage(p, Enrolment{Now: now, CanManage: true}),
		"enrolment viewer": EnrolmentPage(p, Enrolment{Now: now}),
		"error":            ErrorPage(hostilePage, Problem{Status: 404, Title: hostile, Detail: hostile, Hint: hostile, Code: "not_found"}),
		"error signed out": ErrorPage(bare, Problem{Status: 401, Title: "You are not signed in", Code: "unauthenticated"}),
	}
}

// cannedParts are what stands in for a piece of a page.
func cannedParts() map[string]templ.Component {
	p := cannedPage()
	return map[string]templ.Component{
		"list":          DeviceList(cannedDevices()),
		"panel":         DevicePanel(hostileDevice(TabConfig)),
		"head":          DeviceHead(hostileDevice(TabSummary)),
		"tunnel card":   TunnelCard(hostileDevice(TabSummary)),
		"recent":        RecentActivity(hostileDevice(TabSummary)),
		"start":         TerminalStart(hostileDevice(TabSummary)),
		"enrolment":     EnrolmentPanel(cannedEnrolment()),
		"toast":         Toast(Note{Kind: "err", Text: hostile, Hint: hostile}),
		"tunnel list":   TunnelList(Tunnels{Now: now, Live: []Tunnel{cannedTunnel()}}),
		"sidebar":       Sidebar(p),
		"banner":        Banner(Note{Text: hostile}),
		"device row":    DeviceRow(now, Row{ID: "1", Hostname: hostile}),
		"device row up": DeviceRow(now, cannedDevices().Rows[0]),
	}
}
