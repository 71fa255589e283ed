// Package wire has every message that crosses between engine and agent.
//
// Three things cross. A [Code] is carried by a person and lets an agent enrol.
// An [EnrolRequest] and its answer are one HTTP exchange. After that the agent
// holds a WebSocket, the channel, on which it says [Hello] first, the engine
// answers [Welcome], and then each side sends [FromAgent] and [FromEngine]
// messages as JSON text frames. Decoding is strict: what these types cannot say
// is refused whole, and encoding refuses what decoding would.
package wire

import (
	"strings"
	"time"

	"borealis/tunnel/keys"
)

// TLS server names by which an agent chooses the engine's personality. They are
// never looked up; the engine's web certificate does not hold them. In front of
// either may stand the beginning of the pin that the agent knows, so that an engine
// with two identities shows the right one: see [ServerNameFor].
const (
	// ServerName leads to the channel. The engine asks for an agent's certificate.
	ServerName = "agent.borealis.internal"
	// EnrolServerName leads to PathEnrol and nothing else, with any Ed25519
	// certificate.
	EnrolServerName = "enrol.borealis.internal"
)

// Where the channel and enrolment are found.
const (
	PathChannel = "/agent/channel"
	PathEnrol   = "/agent/enrol"
	PathFile    = "/agent/file/"        // Followed by a SHA-256: a [File], for active devices.
	Subprotocol = "channel.borealis.v1" // Of the channel's WebSocket.
)

// pinPrefix is how many characters of a pin stand in a server name: 80 bits.
const pinPrefix = 16

// ServerNameFor returns the server name by which an agent that has pinned an engine
// asks for one of its personalities, [ServerName] or [EnrolServerName].
func ServerNameFor(personality string, engine keys.Pin) string {
	return engine.String()[:pinPrefix] + "." + personality
}

// ParseServerName returns the personality that a TLS server name asks for, and the
// beginning of the pin of the identity to show, which is "" when the name has none.
// The personality is "" for all other names.
func ParseServerName(name string) (personality, prefix string) {
	name = strings.ToLower(name)
	for _, personality := range [...]string{ServerName, EnrolServerName} {
		if name == personality {
			return personality, ""
		}
		if prefix, ok := strings.CutSuffix(name, "."+personality); ok && len(prefix) == pinPrefix {
			return personality, prefix
		}
	}
	return "", ""
}

// Ports and limits that both sides know.
const (
	ShellPort  = 47002    // TCP, the agent's SSH server in the tunnel.
	UDPPort    = 30000    // The engine's WireGuard listener, unless it says otherwise.
	MaxMessage = 64 << 10 // Bytes of one message.
)

// EndReason is what an engine calls the end of a tunnel that an agent has ended by itself, for one of
// the reasons above. So the logs of both sides have the same word.
func EndReason(own string) string {
	switch own {
	case AgentShutdown, PolicyEnded:
		return own
	}
	return "agent_lost"
}

// FlowRequest is an SSH channel request without reply, with the payload
// struct{ Limit uint64 }: the count of output bytes, since the shell started,
// that the agent may have sent. The latest value holds; before the first there
// is no limit.
const FlowRequest = "flow@borealis"

// ShellVariable is the SSH environment variable by which the engine asks for another shell
// than the device's own, one of ShellPowerShell, ShellPwsh and ShellCmd. It is refused when
// the device does not have it or its local policy does not allow it.
const (
	ShellVariable   = "BOREALIS_SHELL"
	ShellPowerShell = "powershell" // Windows PowerShell 5.1.
	ShellPwsh       = "pwsh"       // PowerShell 7 or later.
	ShellCmd        = "cmd"        // The command prompt of Windows.
)

// RefusalRequest is an SSH channel request without reply, with the payload struct{ Why string }:
// no shell was started, for a reason in one sentence for people. The terminal shows it too, and
// the exit status after it is 127.
const RefusalRequest = "refusal@borealis"

// Times that both sides keep.
const (
	Heartbeat    = 15 * time.Second // Between pings of the agent.
	Lease        = 90 * time.Second // A tunnel's life after its start or last [Renew].
	Renewal      = 30 * time.Second // Between renewals by the engine.
	ChannelGrace = 60 * time.Second // A tunnel's life without a channel.
)

// Reasons in [Refused].
const (
	Busy          = "busy"           // Another tunnel is up.
	TokenRejected = "token_rejected" // The token did not pass.
	StartFailed   = "start_failed"   // The device could not bring the tunnel up.
	LocalPolicy   = "local_policy"   // The device's owner does not allow it, now or ever.
)

// Reasons in [Stopped].
const (
	AgentShutdown = "agent_shutdown" // The agent's program ends.
	LeaseExpired  = "lease_expired"  // The engine did not renew.
	ChannelLost   = "channel_lost"   // The engine was out of reach for ChannelGrace.
	LinkFailed    = "link_failed"    // The WireGuard interface or the shell server died.
	PolicyEnded   = "local_policy"   // The hours of the device's local policy are over.
)
