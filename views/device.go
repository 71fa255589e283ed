package views

import (
	"cmp"
	"slices"
	"strings"
)

// An ask is what a question before an act is headed with, and what its
// confirming button says.
type ask struct{ title, do string }

// about is the page with the device's name and tab in its title.
func (p Page) about(v Device) Page {
	p.Title = v.title()
	return p
}

func (v Device) title() string {
	name := plain(cmp.Or(v.Hostname, v.ID))
	switch v.Tab {
	case TabConfig:
		return name + " – Advanced Config"
	case TabShell:
		return name + " – " + shellName(v.OS)
	case TabTimeline:
		return name + " – Timeline"
	case TabActivity:
		return name + " – Activity"
	}
	return name
}

// blocked says why nobody can connect to the device now; "" = one can.
func (v Device) blocked() string {
	switch {
	case v.State == "pending":
		return "Awaits approval: nobody can connect until an administrator approves the device."
	case v.State == "quarantined":
		return "Quarantined: nobody can connect until an administrator approves the device again."
	case v.State == "revoked":
		return "Revoked for good: its key is not taken any more. Uninstall the agent and enrol the machine anew, with a new key."
	case v.locked():
		return "Locked: nobody can connect until it is unlocked."
	case v.Unavailable != "":
		return "Tunnels are unavailable: " + plain(v.Unavailable)
	case !v.Online && v.LastSeen.IsZero():
		return "Offline: the agent has never called in. Start it on the device with: borealis-agent run"
	case !v.Online:
		return "Offline: the agent was last seen " + agoText(v.Now, v.LastSeen) + ". Connecting is possible as soon as it calls in."
	}
	return ""
}

// others are the names of the other people on the tunnel.
func (t Tunnel) others() []string {
	var names []string
	for _, o := range t.Operators {
		if !o.You {
			names = append(names, plain(o.Name))
		}
	}
	return names
}

func (v Device) stopQuestion() string {
	others := v.Tunnel.others()
	switch len(others) {
	case 0:
		return "Every shell and connection through it ends at once."
	case 1:
		return others[0] + " is connected too. Every shell and connection through it ends at once."
	}
	return strings.Join(others[:len(others)-1], ", ") + " and " + others[len(others)-1] +
		" are connected too. Every shell and connection through it ends at once."
}

func (v Device) revokeQuestion() string {
	return connected(len(v.Tunnel.Operators)) + "Its tunnel stops at once and its agent is turned away. This cannot be taken back: " +
		"to come back, the agent must be uninstalled and enrolled anew, with a new key."
}

func (v Device) quarantineQuestion() string {
	return connected(len(v.Tunnel.Operators)) + "Its tunnel stops at once, and nobody can connect until it is approved again."
}

func (v Device) approveQuestion() string {
	return "Its key is trusted again. Do this when you know that only one machine has it: " + plain(cmp.Or(v.Standing.Words, v.Pin)) + "."
}

// locked says that the device or its site is locked.
func (v Device) locked() bool { return len(v.Standing.Locks) > 0 }

// deviceLocked says that the device itself is locked.
func (v Device) deviceLocked() bool {
	return slices.ContainsFunc(v.Standing.Locks, func(l Lock) bool { return l.Kind == "device" })
}

// why says for what reason the device was set aside.
func (s Standing) why() string {
	switch s.Reason {
	case "cloned":
		return "two machines used its identity at the same time"
	case "identity_copied":
		return "its identity came from another machine"
	case "":
		return "no reason given"
	}
	return plain(s.Reason)
}

// advice says what to do about a device that was set aside.
func (s Standing) advice() string {
	switch s.Reason {
	case "cloned", "identity_copied":
		return "Find the machines. Revoke the device, remove the agent's data from all of them, and enrol each anew; approve again only when there is no copy."
	}
	return "Approve it again, or revoke it for good."
}

// actClass is the class of a button that does something with a device.
func actClass(class string) string {
	if class == "menu-item" {
		return class
	}
	return "button " + class
}

// operatorsText names everybody on the tunnel in one line.
func (t Tunnel) operatorsText() string {
	if len(t.Operators) == 0 {
		return "nobody"
	}
	names := make([]string, 0, len(t.Operators))
	for _, o := range t.Operators {
		name := plain(o.Name)
		if o.You {
			name += " (you)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
