package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"borealis/agent/wire"
)

// TestOfferBeforeAnybodyWaits takes an offer that comes before the agent is ready for it, and
// the next as soon as the first was refused: no other update is under way.
func TestOfferBeforeAnybodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{updates: newUpdates(Config{}), log: slog.New(slog.DiscardHandler)}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for i := range 2 {
			a.offered(wire.Update{Manifest: "x"})
			if i == 0 {
				if a.updates.untold != nil {
					t.Errorf("nobody waits yet, and the agent says %+v", *a.updates.untold)
				}
				go a.keepUpdated(ctx)
			}
			synctest.Wait()
			if got := a.updates.untold; got == nil || !strings.HasPrefix(got.Detail, "This build of the agent takes no updates") {
				t.Errorf("to offer %d the agent says %+v", i, got)
			}
			a.updates.untold = nil
		}
	})
}
