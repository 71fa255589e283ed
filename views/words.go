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
	case "start_timeout":
		return phrase{"the agent did not answer in time", "Its connection may have gone stale; connect again in half a minute."}
	case "handshake_timeout":
		return phrase{"no WireGuard handshake came about", "Let the device reach the engine's UDP port; a firewall on the way probably drops it."}
	case "device_revoked":
		return phrase{"the device was revoked", "Enrol it again with a new code to use it."}
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
		"operator_locked", "engine_shutdown", "engine_restart", "firewall_lost", "internal_error",
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

// doing puts an event in words that follow the actor's name, and picks its
// colour.
func doing(e Event) (text, kind string) {
	switch e.Kind {
	case "device_enrolled":
		return "enrolled the device", "ok"
	case "device_approved":
		return "approved the device", "ok"
	case "device_quarantined":
		return "quarantined the device", "err"
	case "device_revoked":
		return "revoked the device", "err"
	case "agent_online":
		return "came online", "ok"
	case "agent_offline":
		return "went offline", "idle"
	case "tunnel_requested":
		return "asked for a tunnel", "info"
	case "tunnel_up":
		return "brought the tunnel up", "ok"
	case "tunnel_down":
		return "ended the tunnel: " + endReason(e.Reason).text, downKind(e.Reason)
	case "operator_joined":
		return "joined the tunnel", "info"
	case "operator_left":
		return "left the tunnel", "info"
	case "terminal_opened":
		return "opened a terminal", "info"
	case "terminal_closed":
		return "closed a terminal", "info"
	case "ports_changed":
		return "changed the allowed ports:", "info"
	case "port_override_expired":
		return "ended what was allowed or closed for a time:", "info"
	case "ports_mismatch":
		return "found that the ports are not as shown:", "err"
	case "firewall_repaired":
		return "repaired the packet filter:", "warn"
	case "firewall_lost":
		return "lost the packet filter and ended every tunnel:", "err"
	case "firewall_restored":
		return "has the packet filter in place again", "ok"
	case "signed_in":
		return "signed in", "info"
	case "sign_in_failed":
		return "was refused at sign-in", "warn"
	case "signed_out":
		return "signed out", "info"
	case "code_created":
		return "made an enrolment code", "info"
	case "code_deleted":
		return "deleted an enrolment code", "info"
	}
	return strings.ReplaceAll(plain(e.Kind), "_", " "), "info"
}

// downKind tells ends that somebody wanted from ends that were faults.
func downKind(reason string) string {
	switch reason {
	case "operator_disconnect", "operator_left", "operator_force_stop", "engine_shutdown", "agent_shutdown":
		return "idle"
	case "idle_timeout", "max_duration", "agent_busy", "engine_restart":
		return "warn"
	}
	return "err"
}
