package wg

import (
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkWatch follows what others do to a link while an interface stands on it.
type linkWatch struct {
	link   netlink.Link
	config Config
	quit   chan struct{}
	gone   chan struct{} // closed when the link was deleted, or by stop
	work   sync.WaitGroup
}

// watchLink sets the route again whenever the link comes up, and closes gone when it is deleted.
// The caller stops the watch.
func watchLink(link netlink.Link, c Config) *linkWatch {
	w := &linkWatch{link: link, config: c, quit: make(chan struct{}), gone: make(chan struct{})}
	w.work.Go(w.run)
	return w
}

// stop ends the watch and waits until nothing of it is left.
func (w *linkWatch) stop() error {
	close(w.quit)
	w.work.Wait()
	return nil
}

// run subscribes to the kernel's news, again after it had more of them than fit.
func (w *linkWatch) run() {
	defer close(w.gone)
	for over := false; !over; {
		updates, end := make(chan netlink.LinkUpdate), make(chan struct{})
		if err := netlink.LinkSubscribe(updates, end); err != nil {
			w.config.Logger.Error("cannot watch the link", "err", err)
			return // an interface that cannot be watched is given up
		}
		over = w.follow(updates)
		close(end)
		for range updates { // until the subscription has ended
		}
	}
}

// follow returns true when the link is gone or the watch is stopped, and false when the
// subscription has ended by itself.
func (w *linkWatch) follow(updates <-chan netlink.LinkUpdate) bool {
	index := w.link.Attrs().Index
	for {
		// Asked at first too: the subscription tells nothing of what was before it.
		if _, err := netlink.LinkByIndex(index); missing(err) {
			return true
		}
		for about := false; !about; {
			select {
			case <-w.quit:
				return true
			case u, ok := <-updates:
				if !ok {
					return false
				}
				about = int(u.Index) == index && u.Header.Type == unix.RTM_DELLINK
				if int(u.Index) == index && u.Header.Type == unix.RTM_NEWLINK && u.Flags&unix.IFF_UP != 0 {
					w.restore()
				}
			}
		}
	}
}

// restore sets the route that the link lost when it was down.
func (w *linkWatch) restore() {
	if err := setRoute(w.link, w.config); err != nil {
		w.config.Logger.Warn("cannot set the route again", "err", err)
	}
}
