package tunnel

// Explain says what a reason means, in words that follow "it ended: ", what to do about it, which
// may be "", and whether it is a fault. The words of an unknown reason are empty.
func (r Reason) Explain() (meaning, remedy string, fault bool) {
	known := remedies[r]
	return known.what, known.do, known.fault
}

// Meant reports whether somebody ended the tunnel by what they did.
func (r Reason) Meant() bool {
	switch r {
	case OperatorDisconnect, OperatorLeft, OperatorForceStop, AgentShutdown, EngineShutdown:
		return true
	}
	return false
}

// A remedy says what an end reason means, and what to do about it.
type remedy struct {
	fault bool   // it is not what somebody wanted
	what  string // follows "it ended: "
	do    string
}

// remedies has every [Reason]. The doctors and the console have their words from here.
var remedies = map[Reason]remedy{
	OperatorDisconnect: {what: "an operator disconnected"},
	OperatorLeft:       {what: "the last operator left"},
	OperatorForceStop:  {what: "an operator stopped it for everyone"},
	IdleTimeout:        {what: "nobody used it for the whole idle time", do: "Connect again; Keep open resets the idle time, and the engine's --idle changes it."},
	MaxDuration:        {what: "it reached the longest time that a tunnel may last", do: "Connect again to go on."},
	AgentLost: {
		true, "the agent's connection was lost",
		"See that the device is on, awake and has its network, then connect again.",
	},
	AgentShutdown: {what: "the agent was stopped on the device", do: "Start the agent's service, or wait until the device has restarted, then connect again."},
	AgentBusy: {
		true, "the agent still held another tunnel",
		"Wait a minute, which is how long a lost tunnel is held, then connect again.",
	},
	TokenRejected: {
		true, "the permission that the engine signed was refused",
		"Compare the clocks of the engine and the device: they may differ by 30 seconds. If they agree, restart the agent.",
	},
	LocalPolicy: {
		true, "the device's own policy does not allow it",
		"Only the device's owner can change that: in the policy file on the device, or by waiting for the hours that it allows. The device's page has what it says.",
	},
	StartTimeout: {
		true, "the agent or its shell did not answer in time",
		"Connect again in half a minute. If it happens again, restart the agent's service on the device.",
	},
	HandshakeTimeout: {
		true, "no WireGuard handshake came about, for UDP is blocked between device and engine",
		"Let UDP pass from the device to the engine's WireGuard port and back: in the firewall in front of the engine, in the device's network, and in any port forwarding. \"borealis-agent doctor\" on the device tries it.",
	},
	DeviceRevoked: {
		true, "the device was set aside or revoked",
		"Approve it again when it is quarantined. When it is revoked, uninstall its agent and enrol it anew, with a new key.",
	},
	DeviceLocked:   {what: "the device or its site was locked", do: "An administrator can lift the lock."},
	OperatorLocked: {what: "the operator who used it was locked", do: "An administrator can lift the lock; somebody else can connect."},
	EngineShutdown: {what: "the engine was stopped", do: "Connect again."},
	EngineRestart:  {what: "the engine was restarted", do: "Connect again."},
	FirewallLost: {
		true, "the rules of the engine's packet filter did not hold",
		"See what changes the packet filter of the engine's host; \"borealis doctor\" there says what is wrong.",
	},
	InternalError: {true, "the engine had a fault", "Connect again. If it happens again, the engine's log says more about this tunnel."},
}
