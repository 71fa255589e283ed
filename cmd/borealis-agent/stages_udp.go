package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"borealis/agent"
	"borealis/agent/checkup"
	"borealis/agent/wire"
)

// What WireGuard needs on the way besides a packet of a tunnel, in bytes.
const (
	tunnelMTU = 1420
	around4   = 60 // Over IPv4.
	around6   = 80 // Over IPv6.
)

// trialPeace is how long the engine is left alone when it was asked too often.
const trialPeace = 6 * time.Second

// udp tries the way that tunnels take, out and back, unless one is up.
func (w *way) udp(name string) checkup.Finding {
	if w.running && w.status.Up {
		return checkup.Well(name, "a tunnel is up, so the way is open, out and back")
	}
	tried, err := w.try()
	w.endpoint = tried.Endpoint
	if refused, ok := errors.AsType[*agent.RefusedError](err); ok {
		return w.untried(name, refused)
	}
	if err != nil {
		return checkup.Unwell(name, err, "")
	}
	_, port, err := net.SplitHostPort(tried.Endpoint)
	if err != nil {
		return checkup.Unwell(name, fmt.Errorf("the engine's endpoint %q is none: %w", tried.Endpoint, err), "")
	}
	switch {
	case tried.Answered:
		return checkup.Well(name, "UDP %s answers: out and back in %v", tried.Endpoint, tried.Took.Round(time.Millisecond))
	case tried.Heard:
		return checkup.Unwell(name, fmt.Errorf("UDP %s is blocked on the way back: the engine hears this device and answers, and no answer comes", port),
			"let the answers from UDP "+tried.Endpoint+" in: a firewall of this device, of its network, or in front of the engine drops them")
	}
	return checkup.Unwell(name, fmt.Errorf("UDP %s is blocked on the way out: nothing that this device sends to %s arrives", port, tried.Endpoint),
		"let UDP out to "+tried.Endpoint+", in the firewall of this device, of its network, and in front of the engine; TCP is not enough")
}

// try tries the way, and once more when somebody has just done so: an engine wants some peace
// between two trials.
func (w *way) try() (agent.PathTried, error) {
	tried, err := agent.TryPath(w.ctx, w.data)
	if refused, ok := errors.AsType[*agent.RefusedError](err); !ok || refused.Status != http.StatusTooManyRequests {
		return tried, err
	}
	select {
	case <-time.After(trialPeace):
	case <-w.ctx.Done():
	}
	return agent.TryPath(w.ctx, w.data)
}

// untried is what it means that the engine takes no part in a trial.
func (w *way) untried(name string, why *agent.RefusedError) checkup.Finding {
	switch why.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return checkup.Well(name, "not known: this engine is of a version that has no trial of the way")
	case http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests:
		return checkup.Well(name, "not known: %v", why)
	}
	return checkup.Unwell(name, why, "")
}

// mtu asks this host for the longest packet to the engine's endpoint.
func (w *way) mtu(name string) checkup.Finding {
	at := w.endpoint
	if at == "" { // A tunnel is up, or there was no trial: where the engine is is near enough.
		host, _, err := net.SplitHostPort(w.engine.Address)
		if err != nil {
			return checkup.Unwell(name, err, "")
		}
		at = net.JoinHostPort(host, strconv.Itoa(wire.UDPPort))
	}
	ctx, cancel := context.WithTimeout(w.ctx, lookUpTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", at) // Nothing is sent.
	if err != nil {
		return checkup.Unwell(name, fmt.Errorf("there is no way for UDP to %s: %w", at, err), "")
	}
	defer conn.Close()
	mtu, err := pathMTU(conn.(*net.UDPConn))
	if err != nil {
		return checkup.Well(name, "not known: %v", err)
	}
	need := tunnelMTU + around6
	if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && remote.Addr().Unmap().Is4() {
		need = tunnelMTU + around4
	}
	if mtu < need {
		return checkup.Unwell(name, fmt.Errorf("the longest packet to %s has %d bytes, and a full one of a tunnel has %d", at, mtu, need),
			fmt.Sprintf("set the MTU of the adapter, and of what is on the way, to %d or more, or let the fragments of UDP packets pass; until then what is long may hang", need))
	}
	return checkup.Well(name, "%d bytes to %s; a tunnel needs %d", mtu, at, need)
}

// interfaceMTU is the MTU of the network adapter that a socket sends from.
func interfaceMTU(conn *net.UDPConn) (int, error) {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	all, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == local.Addr().Unmap().WithZone("") {
				return i.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no adapter has the address %s", local.Addr())
}
