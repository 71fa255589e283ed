package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// whereabouts are the addresses at which an engine may answer, in the order in which they are
// tried: the one that somebody at the device gave, the one of the enrolment, and those that the
// engine announced. An error of what is kept leaves that of the enrolment.
func whereabouts(dir string, k *keys.Agent) ([]string, error) {
	kept, err := keys.ReadAddresses(dir)
	var all []string
	for _, address := range append([]string{kept.Moved, k.Address}, kept.Announced...) {
		if address != "" && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, err
}

// A reached is a connection to the engine: whoever is at its other end has the pinned identity.
type reached struct {
	conn    *tls.Conn
	address string  // host:port that was dialled.
	skipped []error // Why not at the addresses before it.
}

// reach connects to the engine at the first of its addresses where it answers, each of which has
// [dialTimeout]. The address that it answered at last comes first, as long as there is no news
// about addresses. The error tells about each.
func (a *Agent) reach(ctx context.Context) (*reached, error) {
	all, err := whereabouts(a.dir, a.keys)
	if err != nil {
		a.log.Warn("addresses_unread", "err", err)
	}
	var skipped nowhere
	for _, address := range a.favourite(all) {
		conn, err := a.reachAt(ctx, address)
		if err == nil {
			a.mu.Lock()
			a.known, a.good = all, address
			a.mu.Unlock()
			return &reached{conn: conn, address: address, skipped: skipped}, nil
		}
		if len(all) == 1 {
			return nil, err
		}
		skipped = append(skipped, fmt.Errorf("at %s: %w", address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, skipped
}

// favourite puts the address that was good last in front of the others, unless they have changed.
func (a *Agent) favourite(all []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.good == "" || !slices.Equal(all, a.known) {
		return all
	}
	return append([]string{a.good}, slices.DeleteFunc(slices.Clone(all), func(address string) bool { return address == a.good })...)
}

// nowhere is why an engine was reached at none of several addresses.
type nowhere []error

// Error has a clause for each address.
func (n nowhere) Error() string {
	all := make([]string, len(n))
	for i, err := range n {
		all[i] = err.Error()
	}
	return strings.Join(all, "; ")
}

// Unwrap returns the error of each address.
func (n nowhere) Unwrap() []error { return n }

// announced keeps what a welcome says about further addresses of the engine. That it cannot be
// kept harms nothing now.
func (a *Agent) announced(w wire.Welcome) {
	if w.Protocol < 3 {
		return // It knows nothing of that.
	}
	kept, err := keys.ReadAddresses(a.dir)
	if err == nil && slices.Equal(kept.Announced, w.Addresses) {
		return
	}
	if err := keys.SaveAnnounced(a.dir, w.Addresses); err != nil {
		a.log.Warn("addresses_not_kept", "err", err)
		return
	}
	a.log.Info("engine_addresses", "addr", strings.Join(w.Addresses, " "))
}

// Move makes address, host:port, the first at which the device with a data root looks for its
// engine, once the engine has answered there. An agent that runs looks there the next time that it
// dials. The error is a [PinError] when somebody else answers, and then nothing has changed.
func Move(ctx context.Context, data, address string) (Reached, error) {
	if err := wire.CheckAddress(address); err != nil {
		return Reached{}, fmt.Errorf("move: address: %w", err)
	}
	a, err := visitor(data)
	if err != nil {
		return Reached{}, fmt.Errorf("move: %w", err)
	}
	r, err := a.signOfLife(ctx, func(ctx context.Context) (*reached, error) {
		conn, err := a.reachAt(ctx, address)
		return &reached{conn: conn, address: address}, err
	})
	if err != nil {
		return Reached{}, err
	}
	if err := keys.SaveMoved(a.dir, address); err != nil {
		return Reached{}, storable(err)
	}
	return r, nil
}
