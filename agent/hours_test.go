package agent

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"borealis/agent/gate"
	"borealis/agent/limits"
	"borealis/agent/wire"
)

// TestHoursEndATunnelOnTheMinute lets the hours of the local policy run out under a tunnel.
func TestHoursEndATunnelOnTheMinute(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.json")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		end := began.Truncate(time.Minute).Add(47 * time.Minute)
		if err := os.WriteFile(path, fmt.Appendf(nil, `{"hours": [{"from": %q, "to": %q}]}`, began.Format("15:04"), end.Format("15:04")), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &Agent{limits: limits.Load(path), log: slog.New(slog.DiscardHandler)}
		s := &session{gate: gate.New(gate.Config{Engine: netip.MustParseAddr("10.255.0.1")})}
		defer s.gate.Close()
		var ended time.Time
		s.end = func() { ended = time.Now() }
		s.lease = newLease(func(string) {})
		stop := a.keepPolicy(t.Context(), s)
		<-time.After(time.Hour)
		stop()
		if s.reason != wire.PolicyEnded || !ended.Equal(end) {
			t.Errorf("ended at %v for %q, want %v for %q", ended, s.reason, end, wire.PolicyEnded)
		}
	})
}
