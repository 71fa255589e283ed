package agent

import (
	"runtime"
	"runtime/debug"
	"time"
)

// restAfter is how long after a tunnel its memory is given back. Before, another may come.
const restAfter = 5 * time.Second

// restLocked gives back in a while what a tunnel took: after a flood it is hundreds of MiB, and
// nobody may come again for weeks.
func (a *Agent) restLocked() {
	a.wakeLocked()
	a.rest = time.AfterFunc(restAfter, func() {
		runtime.GC() // what is in a sync.Pool goes with the second collection
		debug.FreeOSMemory()
	})
}

// wakeLocked keeps the memory, for a tunnel that comes or a program that ends.
func (a *Agent) wakeLocked() {
	if a.rest != nil {
		a.rest.Stop()
	}
}
