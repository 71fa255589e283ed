package views

import "strings"

// doing puts an event in words that follow the actor's name, and picks its
// colour.
func doing(e Event) (text, kind string) {
	for _, words := range []func(Event) (string, string){deviceDoing, tunnelDoing, peopleDoing, auditDoing} {
		if text, kind := words(e); text != "" {
			return text, resultKind(e.Result, kind)
		}
	}
	return strings.ReplaceAll(plain(e.Kind), "_", " "), resultKind(e.Result, "info")
}

// resultKind is the colour of what did not come about.
func resultKind(result, kind string) string {
	switch result {
	case "refused":
		return "warn"
	case "failed":
		return "err"
	}
	return kind
}

// deviceDoing is doing for devices and how they come in.
func deviceDoing(e Event) (text, kind string) {
	switch e.Kind {
	case "device_enrolled":
		return "enrolled the device", "ok"
	case "device_approved":
		return "approved the device", "ok"
	case "device_denied":
		return "turned the device away", "warn"
	case "device_expired":
		return "forgot the device: nobody approved it in time", "idle"
	case "device_quarantined":
		return "quarantined the device", "err"
	case "device_revoked":
		return "revoked the device", "err"
	case "agent_online":
		return "came online", "ok"
	case "agent_offline":
		return "went offline", "idle"
	case "agent_update_offered":
		return "told the agent to update itself to", "info"
	case "agent_updated":
		return "updated itself to", "ok"
	case "agent_update_failed":
		return "did not update itself to", "err"
	case "agent_update_rolled_back":
		return "went back from", "err"
	case "code_created":
		return "made an enrolment code", "info"
	case "code_removed", "code_deleted":
		return "deleted an enrolment code", "info"
	case "enrolment_refused":
		return "refused an enrolment", "warn"
	}
	return "", ""
}

// tunnelDoing is doing for tunnels, terminals and ports.
func tunnelDoing(e Event) (text, kind string) {
	switch e.Kind {
	case "tunnel_requested":
		return "asked for a tunnel", "info"
	case "tunnel_up":
		return "brought the tunnel up", "ok"
	case "tunnel_down":
		return "ended the tunnel: " + e.End.text(), e.End.kind()
	case "operator_joined":
		return "joined the tunnel", "info"
	case "operator_left":
		return "left the tunnel", "info"
	case "terminal_opened": // its target is the terminal's number
		return "opened " + either(e.Target == "", "a terminal", "terminal"), "info"
	case "terminal_closed":
		return "closed " + either(e.Target == "", "a terminal", "terminal"), "info"
	case "path_trial":
		return "let the device try whether its WireGuard gets through", "info"
	case "ports_changed":
		return "changed the allowed ports:", "info"
	case "port_override_expired":
		return "ended what was allowed or closed for a time:", "info"
	case "ports_mismatch":
		return "found that the ports are not as shown:", "err"
	case "session_repaired":
		return "ended what was only half of a tunnel:", "warn"
	case "link_repaired":
		return "repaired the WireGuard interface:", "warn"
	case "link_lost":
		return "lost the WireGuard interface and ended every tunnel:", "err"
	case "link_open":
		return "has the WireGuard interface again:", "ok"
	case "firewall_repaired":
		return "repaired the packet filter:", "warn"
	case "firewall_lost":
		return "lost the packet filter and ended every tunnel:", "err"
	case "firewall_restored":
		return "has the packet filter in place again", "ok"
	}
	return "", ""
}

// peopleDoing is doing for operators and how they sign in.
func peopleDoing(e Event) (text, kind string) {
	switch e.Kind {
	case "signed_in":
		return "signed in", "info"
	case "sign_in_failed":
		return "was refused at sign-in", "warn"
	case "signed_out":
		return "signed out", "info"
	case "session_revoked":
		return "ended a session", "warn"
	case "second_factor_verified":
		return "proved a second factor", "info"
	case "verification_failed":
		return "did not prove the second factor", "warn"
	case "operator_added":
		return "added an operator", "info"
	case "operator_changed":
		return "changed an operator", "warn"
	case "operator_removed":
		return "removed an operator", "warn"
	case "password_changed":
		return "changed a password", "info"
	case "totp_added":
		return "set up one-time codes", "info"
	case "totp_removed":
		return "removed one-time codes", "warn"
	case "passkey_added":
		return "added a passkey", "info"
	case "passkey_removed":
		return "removed a passkey", "warn"
	case "recovery_codes_made":
		return "made new recovery codes", "info"
	case "recovery_code_used":
		return "used a recovery code", "warn"
	case "factors_reset":
		return "removed all second factors", "warn"
	case "token_added":
		return "made an API token", "info"
	case "token_removed":
		return "removed an API token", "info"
	case "token_refused":
		return "was refused with an API token", "warn"
	case "locked":
		return "locked", "warn"
	case "unlocked":
		return "unlocked", "info"
	case "lock_expired":
		return "lifted a lock whose time was over", "info"
	}
	return "", ""
}

// auditDoing is doing for the trail itself.
func auditDoing(e Event) (text, kind string) {
	switch e.Kind {
	case "audit_exported":
		return "exported the audit trail", "info"
	case "audit_verified":
		return "verified the audit trail", "ok"
	case "audit_broken":
		return "found that the audit trail was tampered with:", "err"
	case "syslog_gap":
		return "left records out for the log server:", "err"
	case "records_lost":
		return "lost records:", "err"
	case "backup_made":
		return "made a backup", "info"
	case "restored":
		return "restored the engine from", "warn"
	}
	return "", ""
}

// either is the first text when it is so, else the second.
func either(so bool, first, second string) string {
	if so {
		return first
	}
	return second
}
