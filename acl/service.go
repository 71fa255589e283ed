// Package acl decides which ports of a device the engine may reach, and enforces it.
package acl

import (
	"fmt"
	"slices"
)

// Protocols of a [Port].
const (
	TCP = "tcp"
	UDP = "udp"
)

// ShellService is the id of the service behind the live terminal.
const ShellService = "powershell"

// A Port is a range of ports of one protocol, From and To included.
// Service names the built-in service it belongs to; it is empty for a custom port.
type Port struct {
	Service  string `json:"service,omitempty"`
	Protocol string `json:"protocol"`
	From     uint16 `json:"from"`
	To       uint16 `json:"to"`
}

// Contains reports whether p covers a port of a protocol.
func (p Port) Contains(protocol string, port uint16) bool {
	return p.Protocol == protocol && p.From <= port && port <= p.To
}

// String writes p as 3389/tcp or 5000-5010/udp.
func (p Port) String() string {
	if p.From == p.To {
		return fmt.Sprintf("%d/%s", p.From, p.Protocol)
	}
	return fmt.Sprintf("%d-%d/%s", p.From, p.To, p.Protocol)
}

// A Service is a named set of ports that an owner allows or closes as one.
type Service struct {
	ID    string // stable, lower case
	Name  string // what people call it
	Hint  string // one line saying what it is for
	Ports []Port
}

// nameOn is what the service is called on a device of an operating system.
func (s Service) nameOn(os string) string {
	if s.ID == ShellService && os != "windows" {
		return "Shell"
	}
	return s.Name
}

// Services returns the built-in services in the order in which people see them.
func Services() []Service {
	return []Service{
		service(ShellService, "PowerShell", "The live terminal in this console", TCP, 47002),
		{
			ID: "rdp", Name: "RDP", Hint: "Remote Desktop",
			Ports: []Port{one("rdp", TCP, 3389), one("rdp", UDP, 3389)},
		},
		service("winrm", "WinRM", "PowerShell remoting and management over HTTP", TCP, 5985),
		service("winrm-tls", "WinRM (TLS)", "PowerShell remoting and management over HTTPS", TCP, 5986),
		service("vnc", "VNC", "Screen sharing", TCP, 5900),
		service("webrtc", "WebRTC", "Media of screen sharing in the browser", UDP, 3478),
		service("ssh", "SSH", "OpenSSH server of the device", TCP, 22),
	}
}

// Defaults returns the ports that are open on a device of an operating system
// ("windows", "linux", …) while nobody has said otherwise.
func Defaults(os string) []Port {
	var open []Port
	for _, s := range Services() {
		if openByDefault(s.ID, os) {
			open = append(open, s.Ports...)
		}
	}
	return open
}

// openByDefault is the one table of defaults: what each operating system opens
// beyond VNC and WebRTC, which every device has.
func openByDefault(service, os string) bool {
	byOS := map[string][]string{
		"windows": {ShellService, "rdp", "winrm", "winrm-tls"},
		"linux":   {ShellService, "ssh"},
	}
	return service == "vnc" || service == "webrtc" || slices.Contains(byOS[os], service)
}

func service(id, name, hint, protocol string, port uint16) Service {
	return Service{ID: id, Name: name, Hint: hint, Ports: []Port{one(id, protocol, port)}}
}

func one(service, protocol string, port uint16) Port {
	return Port{Service: service, Protocol: protocol, From: port, To: port}
}
