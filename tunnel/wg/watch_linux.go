package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// linkWatch follows what others do to a link while an interface stands on it.
type linkWatch struct {
	host    *hostLink
	news    *nl.NetlinkSocket
	changed chan struct{} // room for one
	gone    chan struct{} // closed when the link was deleted, or by stop
	lost    func()        // called when the link was deleted; may be nil
	work    sync.WaitGroup
}

// watchLink tells changed what others do to the link, its address and what is routed to it, sets
// the route again whenever the link comes up, and closes gone when the link is deleted. The caller
// stops the watch.
func watchLink(h *hostLink, lost func()) (*linkWatch, error) {
	news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch the link: %w", err)
	}
	w := &linkWatch{host: h, news: news, changed: make(chan struct{}, 1), gone: make(chan struct{}), lost: lost}
	w.work.Go(w.run)
	return w, nil
}

// stop ends the watch and waits until nothing of it is left.
func (w *linkWatch) stop() error {
	w.news.Close()
	w.work.Wait()
	return nil
}

// run hears the kernel's news until the link is gone or the watch is stopped.
func (w *linkWatch) run() {
	defer close(w.gone)
	// Asked at first too: the subscription tells nothing of what was before it.
	for there := w.there(); there; {
		messages, from, err := w.news.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS): // more news than fit: any may have been about the link
			w.tell()
			there = w.there()
		case err != nil:
			return
		case from.Pid == nl.PidKernel:
			there = w.hear(messages)
		}
	}
	if w.lost != nil {
		w.lost()
	}
}

// there reports whether the link is still there.
func (w *linkWatch) there() bool {
	_, err := netlink.LinkByIndex(w.host.index)
	return !missing(err)
}

// hear passes on what is about the link, and reports whether it is still there.
func (w *linkWatch) hear(messages []syscall.NetlinkMessage) bool {
	there, about := true, false
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			info := nl.DeserializeIfInfomsg(m.Data)
			if int(info.Index) != w.host.index {
				continue
			}
			about = true
			if m.Header.Type == unix.RTM_DELLINK {
				there = w.there()
			} else if info.Flags&unix.IFF_UP != 0 {
				w.host.restoreRoute()
			}
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			about = about || int(nl.DeserializeIfAddrmsg(m.Data).Index) == w.host.index
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			about = about || w.routed(m.Data)
		}
	}
	if about {
		w.tell()
	}
	return there
}

// routed reports whether news of a route is about the link, or about what is routed to it: who
// replaces a route tells only of the new one.
func (w *linkWatch) routed(data []byte) bool {
	attributes, err := nl.ParseRouteAttr(data[unix.SizeofRtMsg:])
	if err != nil {
		return true
	}
	want := w.host.config.Route
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.RTA_OIF:
			if int(nl.NativeEndian().Uint32(a.Value)) == w.host.index {
				return true
			}
		case unix.RTA_DST:
			ip, _ := netip.AddrFromSlice(a.Value)
			if want.IsValid() && netip.PrefixFrom(ip, int(nl.DeserializeRtMsg(data).Dst_len)) == want {
				return true
			}
		}
	}
	return false
}

// tell lets whoever receives from changed know.
func (w *linkWatch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
