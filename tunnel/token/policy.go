package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"borealis/tunnel/keys"
)

// policyPurpose is the implicit assertion of every policy. It differs from a
// token's, so neither passes for the other.
const policyPurpose = "borealis tunnel policy v1"

// Policy replaces the ports that a token allows, for the rest of one tunnel's
// life. It does not expire: it holds for that tunnel only, until a policy with a
// higher revision comes.
type Policy struct {
	Engine   keys.Pin // Who signed it: the identity that the agent was shown.
	Agent    keys.Pin // Whom it is for.
	Tunnel   string   // The id of the tunnel.
	Revision int64    // 1 or more; grows with each policy of a tunnel.
	Ports    []Port   // All that the engine may reach from now on; may be empty.
}

// policyBody is the JSON form of [Policy].
type policyBody struct {
	Issuer   keys.Pin `json:"iss"`
	Audience keys.Pin `json:"aud"`
	Subject  string   `json:"sub"`
	Revision int64    `json:"revision"`
	Ports    []Port   `json:"ports"`
}

// policyMembers are the names in policyBody; a policy has them all and no other.
var policyMembers = [...]string{"iss", "aud", "sub", "revision", "ports"}

// SignPolicy signs a policy with a token key, whose id is kid. A policy that
// [CheckPolicy] would refuse as malformed is refused here already.
func SignPolicy(key ed25519.PrivateKey, kid string, p Policy) (string, error) {
	body, err := encodePolicy(p)
	if err != nil {
		return "", fmt.Errorf("sign policy: %w", err)
	}
	signed, err := seal(key, kid, body, policyPurpose)
	if err != nil {
		return "", fmt.Errorf("sign policy with %d ports: %w", len(p.Ports), err)
	}
	return signed, nil
}

// CheckPolicy verifies a policy against the token keys known by their ids, and
// against whom and what it must be for, and returns what it says. Its errors are
// [ErrMalformed], [ErrSignature] and [ErrForeign]; the policy is zero with any of
// them. Whether its revision is higher than the one in force is for the caller
// to know.
func CheckPolicy(tok string, keys map[string]ed25519.PublicKey, engine, agent keys.Pin, tunnel string) (Policy, error) {
	verified, err := verify(tok, keys, policyPurpose)
	if err != nil {
		return Policy{}, fmt.Errorf("check policy: %w", err)
	}
	p, err := decodePolicy(verified.ClaimsJSON())
	switch {
	case err != nil:
		return Policy{}, fmt.Errorf("check policy: %w: %w", ErrMalformed, err)
	case p.Engine != engine:
		return Policy{}, fmt.Errorf("check policy: %w: another engine", ErrForeign)
	case p.Agent != agent:
		return Policy{}, fmt.Errorf("check policy: %w: another agent", ErrForeign)
	case p.Tunnel != tunnel:
		return Policy{}, fmt.Errorf("check policy: %w: another tunnel", ErrForeign)
	}
	return p, nil
}

// encodePolicy returns the JSON form of a policy that is well formed.
func encodePolicy(p Policy) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Ports == nil {
		p.Ports = []Port{}
	}
	return json.Marshal(policyBody{
		Issuer: p.Engine, Audience: p.Agent, Subject: p.Tunnel, Revision: p.Revision, Ports: p.Ports,
	})
}

// decodePolicy reads what encodePolicy wrote and refuses everything else.
func decodePolicy(b []byte) (Policy, error) {
	if err := exactly(b, policyMembers[:]); err != nil {
		return Policy{}, err
	}
	var raw policyBody
	if err := strict(b, &raw); err != nil {
		return Policy{}, err
	}
	p := Policy{Engine: raw.Issuer, Agent: raw.Audience, Tunnel: raw.Subject, Revision: raw.Revision, Ports: raw.Ports}
	return p, p.check()
}

// check says what is wrong with a policy, whoever it is for.
func (p Policy) check() error {
	switch {
	case p.Engine.IsZero() || p.Agent.IsZero():
		return errors.New("no engine or no agent")
	case !plain(p.Tunnel, maxID):
		return errors.New("tunnel is empty, too long or not plain")
	case p.Revision < 1:
		return errors.New("revision out of range")
	}
	return checkPorts(p.Ports)
}
