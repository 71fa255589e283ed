package wire

import (
	"time"

	"borealis/tunnel/keys"
)

// Hello is the first message of an agent on a new channel. All that it says
// about the device is for people; who the device is, its TLS certificate says.
type Hello struct {
	Nonce     string `json:"nonce"`   // Fresh for this connection; tokens name it.
	Version   string `json:"version"` // Of the agent.
	Hostname  string `json:"hostname"`
	OS        string `json:"os"` // windows, linux, …
	OSVersion string `json:"os_version"`
	Arch      string `json:"arch"`
	Link      string `json:"link"`               // The kind of WireGuard interface it uses.
	Dialled   string `json:"dialled"`            // The host:port at which it reached the engine.
	Tunnel    string `json:"tunnel"`             // The tunnel it still holds, or "".
	Machine   string `json:"machine"`            // As in [EnrolRequest]; tells an engine when an identity was copied.
	Protocol  int    `json:"protocol,omitempty"` // [Protocol] of the agent; absent is 1.
}

// Welcome answers [Hello].
type Welcome struct {
	DeviceID   string          `json:"device_id"`
	State      string          `json:"state"` // pending, active, …
	ServerTime time.Time       `json:"server_time"`
	TokenKeys  []keys.TokenKey `json:"token_keys,omitempty"` // To be accepted only when the identity key vouches for them.

	// The identity that follows the one of this connection, or nil. To be accepted
	// only when the identity of this connection vouches for it.
	NextIdentity *keys.NextIdentity `json:"next_identity,omitempty"`

	// The WireGuardNT driver for the device's processor that the engine keeps for its
	// agents, or nil. Since protocol 2.
	Driver *File `json:"driver,omitempty"`

	// [Protocol] of the engine; absent is one that knows no more than protocol 2. Since
	// protocol 3.
	Protocol int `json:"protocol,omitempty"`

	// Where the engine can be dialled besides where it was, host:port each, at most
	// [MaxAddresses]: all that there are, so none means none. They are hints: who answers
	// there must show the engine's identity. Since protocol 3.
	Addresses []string `json:"addresses,omitempty"`
}

// Keys replaces the token keys that the welcome had.
type Keys struct {
	TokenKeys []keys.TokenKey `json:"token_keys"` // As in [Welcome]; at least one.
}

// State says that an administrator decided about the device.
type State struct {
	State string `json:"state"` // active, …
}

// Start asks for a tunnel.
type Start struct {
	Tunnel       string `json:"tunnel"`
	Token        string `json:"token"`
	PresharedKey string `json:"preshared_key"` // 32 bytes in base64. Never logged.
}

// Ready says that the agent's end waits for [Admit].
type Ready struct {
	Tunnel       string `json:"tunnel"`
	Token        string `json:"token"`         // The one from [Start].
	WireGuardKey string `json:"wireguard_key"` // The agent's public key for this tunnel.
}

// Admit says that the engine's end is up: the agent may add its peer.
type Admit struct {
	Tunnel string `json:"tunnel"`
}

// Stop asks for the end of a tunnel.
type Stop struct {
	Tunnel string `json:"tunnel"`
	Reason string `json:"reason"`
}

// Renew lengthens a tunnel's lease to so many seconds from now.
type Renew struct {
	Tunnel  string `json:"tunnel"`
	Seconds int    `json:"seconds"`
}

// Refused answers [Start] when no tunnel comes of it.
type Refused struct {
	Tunnel string `json:"tunnel"`
	Reason string `json:"reason"` // Busy, TokenRejected or StartFailed.
	Detail string `json:"detail"` // For the log.
}

// Stopped says that the agent ended a tunnel by itself. The engine answers with a [Stop] that has
// the reason on record.
type Stopped struct {
	Tunnel string `json:"tunnel"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"` // A sentence for people, or "". For engines of protocol 3 on.
}

// Policy replaces the ports of a live tunnel that the engine may reach.
type Policy struct {
	Tunnel string `json:"tunnel"`
	Policy string `json:"policy"` // Signed with a token key; token.CheckPolicy reads it.
}

// Applied says that the agent enforces a policy from now on, and that the open
// connections which it forbids are cut.
type Applied struct {
	Tunnel   string `json:"tunnel"`
	Revision int64  `json:"revision"` // Of the policy, 1 or more.
}

// FromEngine is a message of the engine: exactly one member is set.
type FromEngine struct {
	Welcome *Welcome `json:"welcome,omitempty"`
	Start   *Start   `json:"start,omitempty"`
	Admit   *Admit   `json:"admit,omitempty"`
	Stop    *Stop    `json:"stop,omitempty"`
	Renew   *Renew   `json:"renew,omitempty"`
	Policy  *Policy  `json:"policy,omitempty"`
	Keys    *Keys    `json:"keys,omitempty"`
	State   *State   `json:"state,omitempty"`
	Update  *Update  `json:"update,omitempty"` // Since protocol 2.
}

// FromAgent is a message of an agent: exactly one member is set.
type FromAgent struct {
	Hello   *Hello   `json:"hello,omitempty"`
	Ready   *Ready   `json:"ready,omitempty"`
	Refused *Refused `json:"refused,omitempty"`
	Stopped *Stopped `json:"stopped,omitempty"`
	Applied *Applied `json:"applied,omitempty"`

	Inventory *Inventory `json:"inventory,omitempty"`
	Updated   *Updated   `json:"updated,omitempty"`
}

// Encode returns the JSON form of a valid message.
func (m FromEngine) Encode() ([]byte, error) { return encode(m, m.check) }

// Encode returns the JSON form of a valid message.
func (m FromAgent) Encode() ([]byte, error) { return encode(m, m.check) }

// DecodeFromEngine reads a message of the engine, strictly.
func DecodeFromEngine(b []byte) (FromEngine, error) {
	var m FromEngine
	if err := decode(b, &m); err != nil {
		return FromEngine{}, err
	}
	if err := m.check(); err != nil {
		return FromEngine{}, err
	}
	return m, nil
}

// DecodeFromAgent reads a message of an agent, strictly.
func DecodeFromAgent(b []byte) (FromAgent, error) {
	var m FromAgent
	if err := decode(b, &m); err != nil {
		return FromAgent{}, err
	}
	if err := m.check(); err != nil {
		return FromAgent{}, err
	}
	return m, nil
}
