package tunnel

import (
	"testing"

	"borealis/acl/netfilter"
)

// TestLossIsNeverDropped has the keeper of the link fall behind.
func TestLossIsNeverDropped(t *testing.T) {
	t.Parallel()
	events := make(chan netfilter.Event, firewallEvents)
	for range 2 * firewallEvents {
		deliver(events, netfilter.Event{Kind: netfilter.Repaired})
	}
	deliver(events, netfilter.Event{Kind: netfilter.Lost})
	var last netfilter.Event
	for range firewallEvents {
		last = <-events
	}
	if last.Kind != netfilter.Lost || len(events) != 0 {
		t.Errorf("the last event is %q", last.Kind)
	}
}
