package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// Reached says how an engine was reached.
type Reached struct {
	Address string        // host:port
	Engine  keys.Pin      // As it showed itself.
	Took    time.Duration // From the first packet to its answer.
	Ahead   time.Duration // How far this device's clock is ahead of the engine's, in whole seconds.
}

// Reach asks the engine that the device with a data root belongs to for a sign of life, on a
// connection of its own: the engine shows its identity, and takes this device's. It gives
// up after a quarter of a minute for each address that it may be at. The error is
// [keys.ErrNotEnrolled] when the device belongs to none, and a [PinError] when somebody else
// answers. It is [ErrNotTaken] when the engine does not take this device; then, who answered
// where is returned too.
func Reach(ctx context.Context, data string) (Reached, error) {
	a, err := visitor(data)
	if err != nil {
		return Reached{}, fmt.Errorf("reach: %w", err)
	}
	return a.signOfLife(ctx, a.reach)
}

// Whereabouts returns the addresses, host:port each, at which the device with a data root looks
// for its engine, in their order. The error is [keys.ErrNotEnrolled] when it belongs to none; with
// any other one, the addresses that are known nevertheless are returned too.
func Whereabouts(data string) ([]string, error) {
	k, err := keys.OpenAgent(keysDir(data))
	if err != nil {
		return nil, fmt.Errorf("whereabouts: %w", err)
	}
	return whereabouts(keysDir(data), k)
}

// visitor is the agent with a data root for as long as it takes to ask the engine something; it
// does not run.
func visitor(data string) (*Agent, error) {
	k, err := keys.OpenAgent(keysDir(data))
	if err != nil {
		return nil, err
	}
	return &Agent{dir: keysDir(data), keys: k, engine: k.Engine, next: k.Next, log: slog.New(slog.DiscardHandler)}, nil
}

// signOfLife asks the engine for one, where reach finds it.
func (a *Agent) signOfLife(ctx context.Context, reach func(context.Context) (*reached, error)) (Reached, error) {
	began := time.Now()
	found, err := reach(ctx)
	if err != nil {
		return Reached{}, err
	}
	defer func() { _ = found.conn.Close() }()
	shown := found.conn.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return Reached{}, errors.New("reach the engine: it shows no certificate")
	}
	there := Reached{Address: found.address, Engine: keys.PinOfCertificate(shown[0])}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+wire.ServerName+"/", nil)
	if err != nil {
		return Reached{}, fmt.Errorf("reach the engine: %w", err)
	}
	response, err := oneConnection(found.conn).Do(r) // What it answers does not matter; that it does, does.
	if err != nil {
		return there, fmt.Errorf("reach the engine: %w", understood(err))
	}
	defer response.Body.Close()
	there.Took, there.Ahead = time.Since(began), clockAhead(response)
	return there, nil
}
