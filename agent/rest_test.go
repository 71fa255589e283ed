package agent

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// collections is how often somebody has asked for a collection.
func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}

// TestMemoryIsGivenBack: a while after a tunnel, and not when another one has come.
func TestMemoryIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{}
		before := collections()
		a.restLocked()
		a.wakeLocked()
		time.Sleep(2 * restAfter) // of the bubble's clock
		synctest.Wait()
		if n := collections() - before; n != 0 {
			t.Errorf("%d collections with another tunnel there", n)
		}
		a.restLocked()
		time.Sleep(2 * restAfter)
		synctest.Wait()
		if n := collections() - before; n != 2 {
			t.Errorf("%d collections after the tunnel, want 2", n)
		}
	})
}
