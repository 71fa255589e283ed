package tunnel

import (
	"context"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"borealis/agent/wire"
	"borealis/store"
)

// arrive waits until an offered tunnel is as far as its agent takes it by itself.
func (m *machine) arrive(t *rapid.T, a *modelAgent, d *refDevice) {
	id := d.tunnel.id
	must(t, "offer", a.awaits("it is offered the tunnel", func() bool { return a.offer.Tunnel == id }))
	if a.answers {
		m.arrivePeered(t, a, d)
	}
}

func (m *machine) arrivePeered(t *rapid.T, a *modelAgent, d *refDevice) {
	d.tunnel.state = Peered
	id := d.tunnel.id
	must(t, "admit", a.awaits("it is admitted", func() bool { return a.admitted == id }))
	if a.shakes {
		m.arriveUp(t, d)
	}
}

func (m *machine) arriveUp(t *rapid.T, d *refDevice) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := m.w.manager.WaitUp(ctx, d.tunnel.id, nil)
	if err != nil {
		t.Fatalf("wait until up: %v; %+v", err, st.Timeline)
	}
	d.tunnel.up(d.tunnel.requester())
	d.tunnel.hinted, d.tunnel.away = false, !d.online
}

// ready lets an agent answer that has not answered the offer yet.
func (m *machine) ready(t *rapid.T) {
	a, d := m.pick(t, in(Offered))
	a.shakes = rapid.Bool().Draw(t, "with a handshake")
	must(t, "ready", a.ready(a.channel, a.offer.Tunnel, a.offer.Token))
	m.arrivePeered(t, a, d)
}

// readyAgain is what an agent says twice, or too late.
func (m *machine) readyAgain(t *rapid.T) {
	a, d := m.pick(t, func(d *refDevice) bool {
		return d.online && len(d.past) > 0 || in(Peered, Up)(d) && d.online
	})
	id := a.offer.Tunnel
	if len(d.past) > 0 && (d.tunnel == nil || d.tunnel.state == Offered || rapid.Bool().Draw(t, "of the one before")) {
		id = d.past[len(d.past)-1].id
	}
	must(t, "ready again", a.ready(a.channel, id, a.offer.Token))
}

// wrongToken shows a token that is not the tunnel's, or not as it was signed.
func (m *machine) wrongToken(t *rapid.T) {
	a, d := m.pick(t, in(Offered))
	shown := a.offer.Token
	switch other := m.agents[(slices.Index(m.agents, a)+1)%len(m.agents)]; rapid.SampledFrom([]string{"changed", "other device", "before", "used"}).Draw(t, "token") {
	case "other device":
		shown = other.offer.Token // or none
	case "before":
		shown = a.before
	case "used":
		if err := m.w.store.RedeemToken(context.Background(), m.w.manager.session(d.tunnel.id).tokenID, time.Now()); err != nil {
			t.Fatal(err)
		}
	default:
		shown = strings.ToUpper(shown)
	}
	must(t, "ready", a.ready(a.channel, d.tunnel.id, shown))
	d.end("", TokenRejected)
}

func (m *machine) refuse(t *rapid.T) {
	a, d := m.pick(t, in(Offered))
	said := rapid.SampledFrom([]string{"busy", "token_rejected", wire.LocalPolicy, "anything"}).Draw(t, "refused")
	must(t, "refuse", a.channel.Receive(context.Background(), wire.FromAgent{Refused: &wire.Refused{Tunnel: d.tunnel.id, Reason: said}}))
	d.end("", map[string]Reason{"busy": AgentBusy, "token_rejected": TokenRejected, wire.LocalPolicy: LocalPolicy, "anything": InternalError}[said])
}

// handshake lets an agent begin its handshake that has not begun it yet.
func (m *machine) handshake(t *rapid.T) {
	a, d := m.pick(t, in(Peered))
	must(t, "handshake", a.shake())
	m.arriveUp(t, d)
}

func (m *machine) stepTimeout(t *rapid.T) {
	_, d := m.pick(t, in(Offered, Peered))
	must(t, "time out", m.w.expire(d.tunnel.id, stepTimeout))
	d.end("", map[State]Reason{Offered: StartTimeout, Peered: HandshakeTimeout}[d.tunnel.state])
}

// hint lets time pass without a handshake, but not too much of it.
func (m *machine) hint(t *rapid.T) {
	_, d := m.pick(t, in(Peered))
	must(t, "time out", m.w.expire(d.tunnel.id, unheard))
	d.tunnel.hinted = true
}

func (m *machine) agentCrashes(t *rapid.T) {
	a, d := m.pick(t, func(d *refDevice) bool { return d.online })
	if rapid.Bool().Draw(t, "with its tunnel") {
		a.crash()
	}
	a.leave()
	d.online = false
	switch {
	case in(Offered)(d):
		d.end("", AgentLost)
	case in(Up)(d):
		d.tunnel.away = true
	}
}

func (m *machine) agentReturns(t *rapid.T) {
	a, d := m.pick(t, func(d *refDevice) bool { return !d.online && d.state == store.Active })
	holding, stale := "", false
	if d.tunnel != nil && rapid.Bool().Draw(t, "holding the tunnel") {
		holding = d.tunnel.id
	} else if len(d.past) > 0 && rapid.Bool().Draw(t, "holding an old one") {
		holding, stale = d.past[len(d.past)-1].id, true
		a.mu.Lock()
		delete(a.stopped, holding)
		a.mu.Unlock()
	}
	must(t, "come online", a.online(holding))
	d.online = true
	if stale {
		must(t, "stop", a.awaits("it is told that its tunnel is over", func() bool { return a.stopped[holding] }))
	}
	switch {
	case d.tunnel == nil:
	case holding == d.tunnel.id:
		if d.tunnel.away {
			must(t, "come back", m.w.back(d.tunnel.id))
		}
		d.tunnel.away = false
	default:
		d.end("", AgentLost)
	}
}

func (m *machine) agentStops(t *rapid.T) {
	a, d := m.pick(t, func(d *refDevice) bool { return hasTunnel(d) && d.online })
	said := rapid.SampledFrom([]string{wire.AgentShutdown, wire.PolicyEnded, "anything"}).Draw(t, "stopped")
	must(t, "stop", a.channel.Receive(context.Background(), wire.FromAgent{Stopped: &wire.Stopped{Tunnel: d.tunnel.id, Reason: said}}))
	d.end("", Reason(wire.EndReason(said)))
}

func (m *machine) agentStaysAway(t *rapid.T) {
	_, d := m.pick(t, func(d *refDevice) bool { return in(Up)(d) && d.tunnel.away })
	must(t, "time out", m.w.expire(d.tunnel.id, wire.ChannelGrace))
	d.end("", AgentLost)
}
