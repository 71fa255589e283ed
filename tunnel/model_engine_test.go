package tunnel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"borealis/acl/netfilter"
	"borealis/store"
)

// deviceState is what an administrator decides about a device.
func (m *machine) deviceState(t *rapid.T) {
	if m.ref.broken {
		t.Skip("cannot be recorded")
	}
	a, d := m.pick(t, anyDevice)
	wanted := rapid.SampledFrom([]string{store.Quarantined, store.Revoked}).Draw(t, "state")
	if d.state != store.Active {
		wanted = store.Active
	}
	ctx := context.Background()
	must(t, "decide", m.w.store.SetDeviceState(ctx, a.device.ID, wanted, time.Now(), store.Record{Actor: "ada"}))
	m.w.manager.StateChanged(a.device.ID, wanted)
	if d.state = wanted; wanted == store.Active {
		return
	}
	m.w.manager.Drop(ctx, a.device.ID, DeviceRevoked)
	d.end("", DeviceRevoked)
	if d.online {
		<-a.channel.over // it was cut off
		a.leave()
		d.online = false
	}
}

// lock locks a device or the site, or unlocks it.
func (m *machine) lock(t *rapid.T) {
	if m.ref.broken {
		t.Skip("cannot be recorded")
	}
	ctx := context.Background()
	a, d := m.pick(t, anyDevice)
	l, locked := store.Lock{Kind: store.LockDevice, Target: a.device.ID}, &d.locked
	if rapid.Bool().Draw(t, "site") {
		l, locked = store.Lock{Kind: store.LockSite, Target: m.site}, &m.ref.siteLocked
	}
	if *locked {
		must(t, "unlock", m.w.store.DeleteLock(ctx, l.Kind, l.Target, store.Record{Actor: "ada"}))
	} else {
		must(t, "lock", m.w.store.AddLock(ctx, l, store.Record{Actor: "ada"}))
	}
	*locked = !*locked
	m.w.manager.Evict(ctx, func(of store.Device, _ Holder) Reason {
		return DeviceLocked.when(*locked && (of.ID == l.Target || of.Site == l.Target))
	})
	if !*locked {
		return
	}
	for i, d := range m.ref.devices {
		if l.Kind == store.LockSite || m.agents[i] == a {
			d.leave(DeviceLocked, func(Holder) bool { return true })
		}
	}
}

// evict puts an operator out who was locked.
func (m *machine) evict(t *rapid.T) {
	h := m.holder(t)
	m.w.manager.Evict(context.Background(), of(h.Operator, OperatorLocked))
	for _, d := range m.ref.devices {
		d.leave(OperatorLocked, func(o Holder) bool { return o.OperatorID == h.OperatorID })
	}
}

// flush makes the host's firewall be lost, or hold again.
func (m *machine) flush(t *rapid.T) {
	manager := m.w.manager
	manager.mu.Lock()
	l := manager.link
	if m.ref.lost {
		manager.link.lost = nil
	}
	manager.mu.Unlock()
	if m.ref.lost = !m.ref.lost; !m.ref.lost {
		return
	}
	if !manager.firewallEvent(context.Background(), l, netfilter.Event{Kind: netfilter.Lost, Detail: "flushed", Err: errors.New("flushed")}) {
		t.Fatal("not lost")
	}
	for _, d := range m.ref.devices {
		d.end("", FirewallLost)
	}
}

// trail makes the audit trail unwritable, or writable again.
func (m *machine) trail(t *rapid.T) {
	if m.ref.broken {
		must(t, "mend the trail", m.w.mend())
		must(t, "mend the trail", m.w.awaits("everything is recorded", m.w.settled))
	} else {
		must(t, "settle", m.w.awaits("everything is recorded", m.w.settled))
		must(t, "spoil the trail", m.w.spoil())
	}
	m.ref.broken = !m.ref.broken
}

// orphans makes a row without a tunnel, or takes a tunnel's row away, and lets the manager look.
func (m *machine) orphans(t *rapid.T) {
	if m.ref.broken {
		t.Skip("is left alone")
	}
	a, d := m.pick(t, anyDevice)
	ctx, now := context.Background(), time.Now()
	if d.tunnel != nil {
		first, err := m.w.store.EndTunnel(ctx, d.tunnel.id, "somebody", now, 0, 0, nil, store.Record{Actor: "mallory"})
		if err != nil || !first {
			t.Fatalf("end the row: %v, %v", first, err)
		}
		m.w.manager.compareSessions(ctx, now)
		d.tunnel.note("session_repaired", "", "")
		d.end("mallory", "somebody")
		return
	}
	id := fmt.Sprint("orphan of ", a.device.ID, " ", len(d.past))
	row := store.Tunnel{ID: id, DeviceID: a.device.ID, Operator: "mallory", TokenID: id, State: string(Up), RequestedAt: now.Add(-orphanAge)}
	must(t, "make a row", m.w.store.AddTunnel(ctx, row, now.Add(time.Hour), store.Record{}))
	m.w.manager.compareSessions(ctx, now)
	d.request(id, Holder{Operator: "mallory"})
	d.tunnel.note("session_repaired", "", "")
	d.end("", InternalError)
	if err := m.w.store.RedeemToken(ctx, id, now); !errors.Is(err, store.ErrTokenUsed) {
		t.Fatalf("the token of an orphan: %v", err)
	}
}

// restart stops or kills the engine and starts another one. It is rare, for it takes long.
func (m *machine) restart(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "restart") != 9 || m.ref.broken {
		t.Skip("not this time")
	}
	reason := EngineShutdown
	m.check(t)
	if rapid.Bool().Draw(t, "killed") {
		reason = EngineRestart
		must(t, "settle", m.w.awaits("everything is recorded", m.w.settled))
		m.w.kill()
	} else {
		m.w.restart()
	}
	m.ref.lost = false
	for i, d := range m.ref.devices {
		if d.online {
			m.agents[i].leave()
		}
		m.agents[i].crash()
		d.online = false
		d.end("", reason)
	}
}
