package tunnel

import (
	"testing"
	"time"
)

// TestMemoryIsGivenBackAfterTheLastTunnel, and not before.
func TestMemoryIsGivenBackAfterTheLastTunnel(t *testing.T) {
	t.Parallel()
	given := make(chan int, 10)
	var r *rig
	r = newRig(t, func(c *Config) {
		c.rest = time.Millisecond
		c.giveBack = func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			given <- r.live
		}
	})
	first, second := r.join(t), r.join(t)
	for _, h := range []*host{first, second} {
		r.up(t, h, holder("nora"))
	}
	for _, h := range []*host{first, second} {
		if len(given) > 0 {
			t.Error("memory was given back while there was a tunnel")
		}
		if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), true); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case live := <-given:
		if live != 0 {
			t.Errorf("memory was given back with %d tunnels", live)
		}
	case <-time.After(20 * time.Second):
		t.Error("memory was not given back")
	}
}
