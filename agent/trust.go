package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// errThirdIdentity is why an announcement is not believed although it is signed.
var errThirdIdentity = errors.New("the engine announces a third identity: it was restored from a backup, or somebody has its old key. " +
	"When the engine cannot be reached any more, enrol this device again")

// trusted are the identities of the engine that the agent accepts, the newest first.
func (a *Agent) trusted() []keys.Pin {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next.IsZero() {
		return []keys.Pin{a.engine}
	}
	return []keys.Pin{a.next, a.engine}
}

// reachAt connects to the engine at an address: as the newest identity that the agent knows
// of it, and if it shows a strange one then, as the one before. So an engine that was restored
// from a backup is found again.
func (a *Agent) reachAt(ctx context.Context, address string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	pins := a.trusted()
	conn, err := dialTLS(ctx, wire.ServerName, address, a.keys.Identity, pins)
	if _, strange := errors.AsType[*PinError](err); !strange || len(pins) == 1 {
		return conn, err
	}
	slices.Reverse(pins)
	if conn, again := dialTLS(ctx, wire.ServerName, address, a.keys.Identity, pins); again == nil {
		return conn, nil
	}
	return nil, err
}

// learn notes what a connection tells about the engine's identity, once the engine
// has welcomed the agent on it. A connection to the newer one of two identities
// makes the older one worthless. An announcement that the identity of the connection
// does not vouch for is an error; so the connection is not used.
func (a *Agent) learn(c *connection) error {
	identity, next := c.identity, c.welcome.NextIdentity
	a.mu.Lock()
	engine, after := a.engine, a.next
	a.mu.Unlock()
	if after == keys.PinOf(identity) {
		engine, after = after, keys.Pin{}
	}
	if next != nil {
		announced, err := next.Check(identity)
		switch {
		case err != nil:
			return err
		case after.IsZero():
			after = announced
		case after != announced:
			a.log.Warn("identity_refused", "addr", c.address, "err", errThirdIdentity)
		}
	}
	return a.trust(engine, after, c.address)
}

// trust makes those the identities that the agent accepts, by what it heard at an address.
// Only the goroutine that dials does so.
func (a *Agent) trust(engine, next keys.Pin, address string) error {
	if known := a.trusted(); known[len(known)-1] == engine && (next.IsZero() && len(known) == 1 || known[0] == next) {
		return nil
	}
	if err := keys.SavePins(a.dir, engine, next); err != nil {
		return fmt.Errorf("remember the engine's identity: %w", err)
	}
	a.mu.Lock()
	a.engine, a.next = engine, next
	a.mu.Unlock()
	a.log.Info("engine_identity", "addr", address, "pin", a.trusted()[0])
	return nil
}

// checked returns the token keys of a message, by id, when an identity vouches for
// them all.
func checked(identity ed25519.PublicKey, all []keys.TokenKey) (map[string]ed25519.PublicKey, error) {
	known := make(map[string]ed25519.PublicKey, len(all))
	for _, k := range all {
		if err := k.Check(identity); err != nil {
			return nil, fmt.Errorf("token key %s: %w", k.ID, err)
		}
		known[k.ID] = k.Public
	}
	return known, nil
}

// rekey takes new token keys in place of those of the welcome.
func (c *connection) rekey(m wire.Keys) error {
	known, err := checked(c.identity, m.TokenKeys)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokenKeys = known
	return nil
}

// known returns the token keys that hold now. The caller must not change the map.
func (c *connection) known() map[string]ed25519.PublicKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokenKeys
}
