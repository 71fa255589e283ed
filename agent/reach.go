package agent

import (
	"context"
	"fmt"
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
// up after a quarter of a minute. The error is [keys.ErrNotEnrolled] when the device belongs
// to none, and a [PinError] when somebody else answers.
func Reach(ctx context.Context, data string) (Reached, error) {
	k, err := keys.OpenAgent(keysDir(data))
	if err != nil {
		return Reached{}, fmt.Errorf("reach: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	began := time.Now()
	a := &Agent{keys: k, engine: k.Engine, next: k.Next}
	conn, err := a.reach(ctx)
	if err != nil {
		return Reached{}, err
	}
	defer func() { _ = conn.Close() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+wire.ServerName+"/", nil)
	if err != nil {
		return Reached{}, fmt.Errorf("reach the engine: %w", err)
	}
	response, err := oneConnection(conn).Do(r) // What it answers does not matter; that it does, does.
	if err != nil {
		return Reached{}, fmt.Errorf("reach the engine: %w", understood(err))
	}
	defer response.Body.Close()
	return Reached{
		Address: k.Address, Engine: keys.PinOfCertificate(conn.ConnectionState().PeerCertificates[0]),
		Took: time.Since(began), Ahead: clockAhead(response),
	}, nil
}
