package tunnel

import "sync"

const watchBuffer = 256 // events that a slow watcher may be behind

// watchers tells everybody who listens that something about a device changed.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]struct{}
}

type watcher struct {
	events chan string
	missed bool
}

func (w *watchers) add() (<-chan string, func()) {
	one := &watcher{events: make(chan string, watchBuffer)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[*watcher]struct{})
	}
	w.all[one] = struct{}{}
	return one.events, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, one)
	}
}

// tell says that a device changed. A watcher that is behind gets "" instead.
func (w *watchers) tell(device string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		event := device
		if one.missed {
			event = ""
		}
		select {
		case one.events <- event:
			one.missed = false
		default:
			one.missed = true
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.all)
}
