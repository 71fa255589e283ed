package views

import "strings"

// A phrase says something to a person, and what to do about it.
type phrase struct{ text, hint string }

// endReason puts the reason why a tunnel ended in words that can follow
// "The tunnel ended: ".
func endReason(reason string) phrase {
	switch reason {
	case "operator_disconnect":
		return phrase{"an operator disconnected", ""}
	case "operator_left":
		return phrase{"the last operator left", ""}
	case "operator_force_stop":
		return phrase{"an operator stopped it for everyone", ""}
	case "idle_timeout":
		return phrase{"nobody typed for the whole idle time", "Connect again when you need it; Keep open resets the clock."}
	case "max_duration":
		return phrase{"it reached the longest time a tunnel may last", "Connect again to go on."}
	case "agent_lost":
		return phrase{"the agent was lost", "The device may be off, asleep, or without network."}
	case "agent_shutdown":
		return phrase{"the agent was stopped on the device", "It comes back when its service or machine starts again."}
	case "agent_busy":
		return phrase{"the agent still held another tunnel", "Wait a minute, then connect again."}
	case "token_rejected":
		return phrase{"the agent refused the tunnel's token", "Compare the clocks of the engine and the device."}
	case "local_policy":
		return phrase{"the device's own policy does not allow it now", "Device Details has what that policy says; only the device's owner can change it."}
	case "start_timeout":
		return phrase{"the agent did not answer in time", "Its connection may have gone stale; connect again in half a minute."}
	case "handshake_timeout":
		return phrase{"no WireGuard handshake came about", "Let the device reach the engine's UDP port; a firewall on the way probably drops it."}
	case "device_revoked":
		return phrase{"the device was revoked", "To come back, its agent must be uninstalled and enrolled anew, with a new key."}
	case "device_locked":
		return phrase{"the device or its site was locked", "An administrator can unlock it."}
	case "operator_locked":
		return phrase{"the operator was locked", ""}
	case "engine_shutdown":
		return phrase{"the engine was stopped", "Connect again when it is back."}
	case "engine_restart":
		return phrase{"the engine was restarted", "Connect again."}
	case "firewall_lost":
		return phrase{"the engine could not keep its firewall rules in place", "Look at the engine's log before connecting again."}
	case "internal_error":
		return phrase{"the engine had a fault", "The engine's log says more."}
	case "":
		return phrase{"no reason was recorded", ""}
	}
	return phrase{strings.ReplaceAll(plain(reason), "_", " "), ""}
}

// endReasons are all reasons that the terminal may have to put in words without
// asking the engine.
func endReasons() []string {
	return []string{
		"operator_disconnect", "operator_left", "operator_force_stop", "idle_timeout", "max_duration", "agent_lost",
		"agent_shutdown", "agent_busy", "token_rejected", "start_timeout", "handshake_timeout", "device_revoked",
		"device_locked", "operator_locked", "engine_shutdown", "engine_restart", "firewall_lost", "internal_error", "local_policy",
	}
}

// stepName puts a step of a tunnel in words.
func stepName(name string) string {
	switch name {
	case "requested":
		return "Asked for"
	case "offered":
		return "Agent asked"
	case "ready":
		return "Agent ready"
	case "peered":
		return "Admitted"
	case "handshake":
		return "Handshake"
	case "up":
		return "Tunnel up"
	case "closing":
		return "Stopping"
	case "ended":
		return "Ended"
	}
	return strings.ReplaceAll(plain(name), "_", " ")
}
