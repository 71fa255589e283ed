package tunnel

import (
	"runtime"
	"runtime/debug"
	"time"
)

// restAfter is how long after the last tunnel the memory of tunnels is given back. Before, another may come.
const restAfter = 30 * time.Second

// beginLocked notes that there is a tunnel more: memory is kept.
func (m *Manager) beginLocked() {
	m.live++
	m.stopRestLocked()
}

// restLocked notes that there is a tunnel less. After the last one, what they took is given back in a
// while: a terminal's ring alone is a MiB.
func (m *Manager) restLocked() {
	if m.live--; m.live == 0 && !m.closing {
		m.rest = time.AfterFunc(m.config.rest, m.config.giveBack)
	}
}

func (m *Manager) stopRestLocked() {
	if m.rest != nil {
		m.rest.Stop()
	}
}

// giveMemoryBack collects twice: what pools and finalizers keep is free only after the second time.
func giveMemoryBack() {
	runtime.GC()
	debug.FreeOSMemory()
}
