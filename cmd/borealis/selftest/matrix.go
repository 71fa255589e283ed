package selftest

import (
	"cmp"
	"slices"

	"borealis/tunnel/wg"
)

// firstItem is the check without which there is nothing to check.
const firstItem = "engine starts"

// What to do, where several checks have the same remedy.
const (
	hintDefect  = "this is a defect of Borealis or a damaged program: compare the program's checksum with the release's, and report it with the support bundle"
	hintSlow    = "look whether this host is overloaded (uptime, vmstat 1), and run the self-test again"
	hintHost    = "see the check \"engine starts\" for how tunnels stand here, and run \"borealis doctor\""
	hintRefuse  = "do not use this build: something that must be refused is not; report it with the support bundle"
	hintSandbox = "look whether a security module or a container profile (AppArmor, SELinux, seccomp) keeps this user from iptables, TUN devices or UDP"
)

// matrixItems are all checks in the order in which they are made.
func matrixItems() []matrixItem {
	return slices.Concat(functionalItems(), securityItems(), resilienceItems(), loggingItems())
}

func functionalItems() []matrixItem {
	all := []matrixItem{
		{name: firstItem, hint: hintSandbox, run: (*matrix).engineStarts},
		{name: "agents enrol by code", hint: hintHost, run: (*matrix).agentsEnrol},
		{name: "agents are online", hint: hintHost, run: (*matrix).agentsOnline},
		{name: "connect brings a tunnel up", hint: hintSandbox, run: (*matrix).connectUp},
		{name: "tunnel token is single use", hint: hintDefect, run: (*matrix).tokenSingleUse},
		{name: "terminal opens a shell and echoes", hint: hintHost, run: (*matrix).terminalEchoes},
		{name: "output comes over the tunnel", hint: hintDefect, run: (*matrix).outputOverTunnel},
		{name: "second operator shares the tunnel", hint: hintDefect, run: (*matrix).secondShares},
		{name: "reload resumes the terminal", hint: hintDefect, run: (*matrix).reloadResumes},
		{name: "custom port is reachable", hint: hintSandbox, run: (*matrix).customPort},
		{name: "status and its alias agree", hint: hintDefect, run: (*matrix).statusAlias},
	}
	return grouped("functional", all)
}

func securityItems() []matrixItem {
	all := []matrixItem{
		{name: "no endpoint without a session", hint: hintRefuse, run: (*matrix).endpointsClosed},
		{name: "foreign host name is refused", hint: hintRefuse, run: (*matrix).foreignHost},
		{name: "cross-origin WebSocket is refused", hint: hintRefuse, run: (*matrix).crossOrigin},
		{name: "wrong, expired and used codes are refused", hint: hintRefuse, run: (*matrix).badCodes},
		{name: "agent refuses a wrong pin", hint: hintRefuse, run: (*matrix).wrongPin},
		{name: "unlisted port is closed", hint: hintRefuse, run: (*matrix).unlistedPort},
		{name: "agent cannot reach the engine's services", hint: hintRefuse, run: (*matrix).engineOutOfReach},
		{name: "agent cannot reach another agent", hint: hintRefuse, run: (*matrix).agentsApart},
		{group: "functional", name: "disconnect cuts at once", hint: hintDefect, run: (*matrix).disconnectCuts},
		{name: "replayed token is refused and adds no peer", hint: hintRefuse, run: (*matrix).replayRefused},
		{name: "revoked device is cut and refused", hint: hintRefuse, run: (*matrix).revokedCut},
		{name: "files are for their owner alone", hint: "set the umask of the engine's user to 077, and look at the mount options of the data root", run: (*matrix).fileModes},
	}
	return grouped("security", all)
}

func resilienceItems() []matrixItem {
	all := []matrixItem{
		{name: "tunnel survives a lost channel", hint: hintSlow, run: (*matrix).channelLost},
		{name: "tunnel stays down after an agent's restart", hint: hintDefect, run: (*matrix).agentRestarts},
		{name: "deleted link is made again", only: wg.TUN, hint: hintSandbox, run: (*matrix).linkDeleted},
		{name: "flushed firewall is repaired", only: wg.TUN, hint: "look for another program that owns the packet filter, such as firewalld or docker, and let it leave the chains BRL-* alone", run: (*matrix).firewallFlushed},
		{name: "engine's restart ends tunnels and keeps agents", hint: hintDefect, run: (*matrix).engineRestarts},
		{name: "idle tunnel ends", hint: hintDefect, run: (*matrix).idleEnds},
	}
	return grouped("resilience", all)
}

func loggingItems() []matrixItem {
	all := []matrixItem{
		{name: "every end has one reason everywhere", hint: hintDefect, run: (*matrix).reasonsAgree},
		{name: "audit trail verifies", hint: hintDefect, run: (*matrix).trailVerifies},
		{name: "tampering with a copy is found", hint: hintRefuse, run: (*matrix).tamperingFound},
		{group: "resilience", name: "taken UDP port refuses tunnels with a reason", hint: hintDefect, run: (*matrix).portTaken},
		{group: "security", name: "secrets are in no log, database or answer", hint: hintRefuse, run: (*matrix).secretsStaySecret},
	}
	return grouped("logging", all)
}

// grouped names the group of the checks that do not say it themselves.
func grouped(group string, all []matrixItem) []matrixItem {
	for i := range all {
		all[i].group = cmp.Or(all[i].group, group)
	}
	return all
}
