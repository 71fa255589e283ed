package netfilter

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Times of the watcher.
const (
	pollTime  = 300 * time.Millisecond // between looks at the generation without news
	retryTime = 200 * time.Millisecond // after a check that failed for the first time
	lostTime  = time.Second            // between tries while the rules are lost
	checkGap  = 100 * time.Millisecond // least time between two checks
	repairGap = 500 * time.Millisecond // least time between a repair and the next check
	mostGap   = 900 * time.Millisecond // most of either, however long a check takes
)

// How much is told when another program does not stop to change our rules.
const (
	talkativeness = 10          // repairs in a row that are told
	quietTime     = time.Minute // after these, one in a minute
)

// subscribe asks the kernel for the news that there is a new generation of rules. What changed is
// kept back: it would be thousands of messages for a change of ours.
func subscribe() (*nl.NetlinkSocket, error) {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, fmt.Errorf("subscribe to news of nftables: %w", err)
	}
	const typeAt = 4 // in the header of a netlink message
	newGeneration := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, nfTables|unix.NFT_MSG_NEWGEN))
	program := [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: typeAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(newGeneration)},
		{Code: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(s.GetFd(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter); err != nil {
		s.Close()
		return nil, fmt.Errorf("filter the news of nftables: %w", err)
	}
	return s, nil
}

// listen wakes the watcher with each news until the socket is closed. Should it end for another
// reason, polling is left.
func (f *Firewall) listen(s *nl.NetlinkSocket) {
	for {
		// More news than fit are news too.
		if _, _, err := s.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		f.poke()
	}
}

// watch checks the rules whenever somebody changed any, until the context ends.
func (f *Firewall) watch(ctx context.Context, news *nl.NetlinkSocket) {
	f.work.Go(func() { f.listen(news) })
	defer news.Close()
	timer := time.NewTimer(pollTime)
	defer timer.Stop()
	var earliest time.Time // of the next check
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
		if time.Until(earliest) <= 0 {
			if gap := f.glance(ctx); gap > 0 {
				earliest = time.Now().Add(gap)
			}
		}
		f.notify()
		timer.Reset(cmp.Or(max(time.Until(earliest), 0), pollTime))
	}
}

// glance checks the rules if anything changed, and returns how long not to check again.
func (f *Firewall) glance(ctx context.Context) time.Duration {
	if f.take(ctx) != nil {
		return 0
	}
	defer f.give()
	if now, err := generation(); err == nil && now == f.generation && f.failures == 0 {
		return 0
	}
	begun := time.Now()
	repaired, err := f.check(ctx)
	took := time.Since(begun)
	switch {
	case err != nil && f.failures < 2:
		return retryTime
	case err != nil:
		return lostTime
	case repaired:
		return min(max(took, repairGap), mostGap)
	}
	return min(max(took, checkGap), mostGap)
}

// tell takes note of an event; the watcher passes it on.
func (f *Firewall) tell(kind EventKind, detail string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == Repaired && !f.talking.Allow() {
		f.muted++
		return
	}
	if f.muted > 0 {
		detail += fmt.Sprintf(" The rules had to be repaired %d times before that, without a word each.", f.muted)
		f.muted = 0
	}
	f.events = append(f.events, Event{Kind: kind, Detail: detail, Err: err, At: time.Now()})
	f.poke()
}

// notify passes on the events that are due.
func (f *Firewall) notify() {
	f.mu.Lock()
	events := f.events
	f.events = nil
	f.mu.Unlock()
	for _, e := range events {
		if f.config.Notify != nil {
			f.config.Notify(e)
		}
	}
}
