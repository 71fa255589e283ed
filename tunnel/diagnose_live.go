package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/agent/checkup"
	"borealis/agent/wire"
	"borealis/tunnel/wg"
)

const (
	staleHandshake = 3 * time.Minute // WireGuard takes a session for dead that is older
	tryAtOnce      = 32              // probes of one diagnosis
	maxBanner      = 255             // bytes of an SSH banner, by RFC 4253
)

// A tried port is a port of the policy and what became of an attempt to reach it.
type triedPort struct {
	row     acl.Row
	port    acl.Port // of a range its first
	outcome outcome
	took    time.Duration
}

// liveTunnel looks at a tunnel that has not ended: how far it is, whether UDP passes, and, when it
// does, at its ports.
func (x *diagnosis) liveTunnel(ctx context.Context, s *session) {
	s.mu.Lock()
	state, key, since := s.state, s.agentKey, s.steps[len(s.steps)-1].At
	s.mu.Unlock()
	waited := time.Since(since)
	switch {
	case s.closing():
		x.note("tunnel", "Wait for its end, then connect again.", "it is being stopped")
	case state == Requested, state == Offered:
		if waited < unheard {
			x.note("tunnel", "Ask again in some seconds.", "it is coming up: the agent was asked %s ago", spanText(waited))
			break
		}
		x.unwell("tunnel", "Its connection may have gone stale: it is noticed within half a minute. Then connect again.", "the agent was asked %s ago and has not answered", spanText(waited))
	case state == Ready:
		x.note("tunnel", "Ask again in some seconds.", "it is coming up: the agent is ready")
	default:
		x.well("tunnel", "%s for %s", state, spanText(waited))
		if key != (wgtypes.Key{}) && x.handshake(ctx, s, key, waited) {
			x.throughTunnel(ctx, s, key)
			return
		}
	}
	x.ports(nil)
}

// handshake says whether WireGuard has a session, and when it has none, on which way packets are
// lost. It waits for one that may yet come.
func (x *diagnosis) handshake(ctx context.Context, s *session, key wgtypes.Key, waited time.Duration) bool {
	const name = "handshake"
	limited, cancel := context.WithTimeout(ctx, max(unheard-waited, time.Millisecond))
	defer cancel()
	err := s.link.Handshake(limited, key)
	peer, known, peerErr := s.link.Peer(key)
	_, port, _ := splitHostPort(s.endpoint)
	switch {
	case peerErr != nil, !known, errors.Is(err, wg.ErrNoPeer):
		x.unwell(name, "Ask again: the tunnel is ending, or its peer is being put back.", "the engine's WireGuard does not have the device")
	case err != nil && peer.ReceivedBytes > 0:
		x.unwell(name, "Let UDP pass back from "+s.endpoint+" to the device: a firewall or an address translation on the way loses the answers.",
			"UDP port %s is blocked on the way back: the device is heard, and does not hear the engine", port)
	case err != nil:
		x.unwell(name, "Let UDP pass from the device to "+s.endpoint+" and back: in the firewall in front of the engine, in the device's network, and in any port forwarding. \"borealis-agent doctor\" on the device tries it.",
			"UDP port %s is blocked between device and engine: no packet of the device has come", port)
	case time.Since(peer.LastHandshake) > staleHandshake:
		x.unwell(name, "See whether the device's network has changed; UDP to "+s.endpoint+" does not pass any more.",
			"the last one was %s: UDP port %s is blocked by now, or the device is away", x.ago(peer.LastHandshake), port)
	default:
		x.well(name, "the last one was %s", x.ago(peer.LastHandshake))
		return true
	}
	return false
}

// throughTunnel tries the ports that are allowed, all at once, and says what of it came back.
func (x *diagnosis) throughTunnel(ctx context.Context, s *session, key wgtypes.Key) {
	m := x.manager
	var tried []triedPort
	for _, row := range x.policy.Rows(x.now) {
		for _, p := range row.Ports {
			tried = append(tried, triedPort{row: row, port: p})
		}
	}
	before, _, _ := s.link.Peer(key) // one that is gone has no figures
	var banner checkup.Finding
	release, err := take(ctx, m.proving) // many may ask at once
	if err == nil {
		banner = s.tryPorts(ctx, tried)
		release()
	}
	after, _, _ := s.link.Peer(key)
	x.udp(before, after, tried)
	x.ports(&examined{session: s, tried: tried, banner: banner})
}

// tryPorts makes an attempt on each allowed port, and reads the banner of the shell's.
func (s *session) tryPorts(ctx context.Context, tried []triedPort) (banner checkup.Finding) {
	var reading sync.WaitGroup
	reading.Go(func() { banner = s.readBanner(ctx) })
	var work errgroup.Group
	work.SetLimit(tryAtOnce)
	for i := range tried {
		t := &tried[i]
		if !t.row.Allowed {
			continue
		}
		work.Go(func() error {
			began := time.Now()
			if ctx.Err() == nil {
				t.outcome = s.try(ctx, single(t.port.Protocol, t.port.From))
			}
			if t.outcome == silent && ctx.Err() != nil {
				t.outcome = notTried // not for long enough
			}
			t.took = time.Since(began)
			return nil
		})
	}
	_ = work.Wait() // none of them fails
	reading.Wait()
	return banner
}

// readBanner reads how the shell's server greets.
func (s *session) readBanner(ctx context.Context) checkup.Finding {
	const name = "shell banner"
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	c, err := s.dialTCP(ctx, wire.ShellPort)
	if err != nil {
		return checkup.Finding{} // the port itself has the reason
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	line, err := bufio.NewReader(io.LimitReader(c, maxBanner)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err == nil && strings.HasPrefix(line, "SSH-2.0-"):
		return checkup.Well(name, "%q", line).Since(began)
	case ctx.Err() != nil:
		err = errors.New("the port takes connections, and the shell behind it does not answer")
	default:
		err = fmt.Errorf("something else than the agent's shell answers: %.60q", line)
	}
	return checkup.Unwell(name, err, "Restart the agent's service on the device; if another program took the port, stop that.").Since(began)
}

// udp says whether packets passed both ways while the ports were tried.
func (x *diagnosis) udp(before, after wg.PeerState, tried []triedPort) {
	const name = "UDP"
	asked := false // something that has to be answered, or acknowledged
	for _, t := range tried {
		asked = asked || t.outcome != notTried && t.port.Protocol == acl.TCP
	}
	sent, received := grown64(before.SentBytes, after.SentBytes), grown64(before.ReceivedBytes, after.ReceivedBytes)
	if asked && sent > 0 && received == 0 {
		x.unwell(name, "See whether the device is still there, and whether its network has changed: nothing comes back through the tunnel.",
			"nothing came back: %d bytes went to the device just now, and none came from it", sent)
		return
	}
	x.well(name, "passes both ways: %d bytes from the device and %d to it so far", after.ReceivedBytes, after.SentBytes)
}

func grown64(before, after int64) int64 { return max(after-before, 0) }
