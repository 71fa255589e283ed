package agent

import "context"

// report tells the engine what the device is made of, at once and whenever it has changed,
// until ctx ends.
func (a *Agent) report(ctx context.Context, _ *connection) { <-ctx.Done() }
