// Package token signs and checks tunnel tokens, and the policies that follow them.
//
// A token is the engine's permission for one agent to bring one tunnel up; a
// [Policy] changes the ports of that tunnel while it is up. Both are PASETO
// v4.public messages whose footer names the signing key. The format has one
// algorithm, so a message cannot choose how it is checked; [Check] and
// [CheckPolicy] are the only ways to read one, and neither reads the other's.
package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"aidanwoods.dev/go-paseto"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/keys"
)

// Early is how long before its issue a token already holds, and Lifetime how
// long after. Both bound the admission of a tunnel, not its life.
const (
	Early    = 30 * time.Second
	Lifetime = 120 * time.Second
)

// MaxSize is the length of the longest token or policy. Longer ones are neither
// signed nor parsed; it leaves room for about 110 ranges of ports.
const MaxSize = 8 << 10

// purpose is the implicit assertion of every token: it is signed but not sent,
// so a message that the same key signed for something else is no token.
const purpose = "borealis tunnel token v1"

// What [Check] finds wrong, for errors.Is.
var (
	ErrMalformed = errors.New("not a tunnel token")
	ErrSignature = errors.New("token signature is not the engine's")
	ErrExpired   = errors.New("token has expired")
	ErrEarly     = errors.New("token is not valid yet")
	// ErrForeign marks a genuine token that was signed for somebody or
	// something else.
	ErrForeign = errors.New("token is meant for something else")
)

// Port is a protocol, "tcp" or "udp", and an inclusive range of ports.
type Port struct {
	Protocol string `json:"protocol"`
	From     uint16 `json:"from"`
	To       uint16 `json:"to"`
}

// Claims is what a token says.
type Claims struct {
	Engine    keys.Pin          // Who signed it: the identity that the agent was shown.
	Agent     keys.Pin          // Whom it is for.
	Tunnel    string            // The id of the tunnel.
	ID        string            // The id of the token, used once.
	Nonce     string            // From the agent's hello on the connection it is sent on.
	IssuedAt  time.Time         // In whole seconds, UTC.
	ServerKey wgtypes.Key       // The public key of the engine's WireGuard listener.
	Endpoint  string            // The listener's host:port, over UDP.
	VirtualIP netip.Addr        // The agent's address in the tunnel.
	EngineIP  netip.Addr        // The engine's address in the tunnel.
	Ports     []Port            // What the engine may reach; may be empty.
	Idle      time.Duration     // The engine ends the tunnel after this, in whole seconds.
	ShellKey  ed25519.PublicKey // Who may open a shell.
}

// Want is what the one who checks a token knows about it already.
type Want struct {
	Engine, Agent keys.Pin
	Nonce         string
	Tunnel        string
}

// Sign signs claims with a token key, whose id is kid. The token holds from
// [Early] before to [Lifetime] after c.IssuedAt. Claims that [Check] would
// refuse as malformed are refused here already.
func Sign(key ed25519.PrivateKey, kid string, c Claims) (string, error) {
	body, err := encode(c)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	signed, err := seal(key, kid, body, purpose)
	if err != nil {
		return "", fmt.Errorf("sign token with %d ports: %w", len(c.Ports), err)
	}
	return signed, nil
}

// seal signs a body for one purpose.
func seal(key ed25519.PrivateKey, kid string, body []byte, purpose string) (string, error) {
	foot, err := encodeFooter(kid)
	if err != nil {
		return "", err
	}
	t, err := paseto.NewTokenFromClaimsJSON(body, foot)
	if err != nil {
		return "", err
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", errors.New("not an Ed25519 key")
	}
	secret, err := paseto.NewV4AsymmetricSecretKeyFromEd25519(key)
	if err != nil {
		return "", err
	}
	signed := t.V4Sign(secret, []byte(purpose))
	if len(signed) > MaxSize {
		return "", fmt.Errorf("%d bytes, more than %d", len(signed), MaxSize)
	}
	return signed, nil
}

// Check verifies a token against the token keys known by their ids, what is
// wanted of it, and the time, and returns what it says. Its errors are
// [ErrMalformed], [ErrSignature], [ErrExpired], [ErrEarly] and [ErrForeign];
// the claims are zero with any of them. Whether a token was used before is for
// the caller to know, by [Claims.ID].
func Check(tok string, keys map[string]ed25519.PublicKey, want Want, now time.Time) (Claims, error) {
	verified, err := verify(tok, keys, purpose)
	if err != nil {
		return Claims{}, fmt.Errorf("check token: %w", err)
	}
	c, err := decode(verified.ClaimsJSON())
	if err != nil {
		return Claims{}, fmt.Errorf("check token: %w: %w", ErrMalformed, err)
	}
	if err := c.meant(want); err != nil {
		return Claims{}, fmt.Errorf("check token: %w", err)
	}
	switch {
	case now.Before(c.IssuedAt.Add(-Early)):
		return Claims{}, fmt.Errorf("check token: %w", ErrEarly)
	case !now.Before(c.IssuedAt.Add(Lifetime)):
		return Claims{}, fmt.Errorf("check token: %w", ErrExpired)
	}
	return c, nil
}

// verify checks form, signature and purpose, and nothing of what the token says.
func verify(tok string, known map[string]ed25519.PublicKey, purpose string) (*paseto.Token, error) {
	if len(tok) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	parser := paseto.NewParserWithoutExpiryCheck() // Its clock is not ours.
	foot, err := parser.UnsafeParseFooter(paseto.V4Public, tok)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	kid, err := decodeFooter(foot)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	pub, ok := known[kid]
	if !ok {
		return nil, fmt.Errorf("%w: unknown key id", ErrSignature)
	}
	key, err := paseto.NewV4AsymmetricPublicKeyFromEd25519(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	t, err := parser.ParseV4Public(key, tok, []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return t, nil
}

// meant says what the token was signed for when it is not what was wanted.
func (c Claims) meant(want Want) error {
	switch {
	case c.Engine != want.Engine:
		return fmt.Errorf("%w: another engine", ErrForeign)
	case c.Agent != want.Agent:
		return fmt.Errorf("%w: another agent", ErrForeign)
	case c.Nonce != want.Nonce:
		return fmt.Errorf("%w: another connection", ErrForeign)
	case c.Tunnel != want.Tunnel:
		return fmt.Errorf("%w: another tunnel", ErrForeign)
	}
	return nil
}

// footer is the unencrypted but signed part that names the key.
type footer struct {
	KeyID string `json:"kid"`
}

// encodeFooter returns the footer that names a key.
func encodeFooter(kid string) ([]byte, error) {
	if !plain(kid, maxKeyID) {
		return nil, errors.New("key id is empty, too long or not plain")
	}
	return json.Marshal(footer{KeyID: kid})
}

// decodeFooter returns the key's id from a footer exactly as encodeFooter makes it.
func decodeFooter(b []byte) (string, error) {
	var f footer
	if err := strict(b, &f); err != nil {
		return "", fmt.Errorf("footer: %w", err)
	}
	same, err := encodeFooter(f.KeyID)
	if err != nil || string(same) != string(b) {
		return "", errors.New("footer: not the key id alone")
	}
	return f.KeyID, nil
}
