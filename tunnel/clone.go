package tunnel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"borealis/store"
)

// Reasons for which the engine itself sets a device aside until an administrator decides.
const (
	deviceCloned   = "cloned"          // two agents at once answer with its key
	identityCopied = "identity_copied" // its key came from another machine than the one that was enrolled
)

// errIdentityCopied is why an agent may not join.
var errIdentityCopied = errors.New("the device's identity comes from another machine than the one that was enrolled")

// An agent that restarts or redials is gone from its older connection well before the
// second question; one whose network changed does not answer there.
const (
	pingAnswer = 2 * time.Second // for the answer to a ping
	pingAgain  = 3 * time.Second // between the first question and the second
)

// settle decides about a device that has two connections, of which the newer one is
// served. As a rule its agent has lost the older one, which is then cut. When both
// answer twice over, there are two agents.
func (m *Manager) settle(older, newer *Channel) {
	defer older.shut()
	if !m.answers(older, newer) {
		return
	}
	wait := time.NewTimer(m.config.PingAgain)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-older.over:
		return
	case <-newer.over:
		return
	}
	if m.answers(older, newer) && m.answers(newer, older) {
		m.cloned(older, newer)
	}
}

// answers reports whether an agent answers a ping in time while both connections last.
func (m *Manager) answers(c, other *Channel) bool {
	ctx, cancel := context.WithTimeout(context.Background(), m.config.PingAnswer)
	defer cancel()
	answer := make(chan bool, 1)
	go func() { answer <- c.ping(ctx) == nil }()
	select {
	case ok := <-answer:
		return ok
	case <-c.over:
	case <-other.over:
	}
	cancel()
	<-answer
	return false
}

// cloned sets a device aside whose key two agents hold. Which of them is the right one,
// nobody can tell from here.
func (m *Manager) cloned(older, newer *Channel) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	m.quarantine(ctx, newer.device.ID, deviceCloned,
		fmt.Sprintf("agents at %s and at %s answer with its key", older.presence.Addr, newer.presence.Addr))
}

// quarantine sets a device aside until an administrator decides, and cuts it off.
func (m *Manager) quarantine(ctx context.Context, deviceID, reason, detail string) {
	m.log.WarnContext(ctx, "device_quarantined", "agent", deviceID, "reason", reason)
	now := time.Now()
	did := store.Record{At: now, DeviceID: deviceID, Reason: reason, Detail: detail}
	if err := m.config.Store.SetDeviceState(ctx, deviceID, store.Quarantined, now, did); err != nil {
		m.log.ErrorContext(ctx, "quarantine_failed", "agent", deviceID, "err", err) // it is cut at least
	}
	m.Drop(ctx, deviceID, DeviceRevoked)
}

// sameMachine reports whether an agent may come from the machine that was enrolled. What
// one side does not know, or made in another way, cannot be compared.
func sameMachine(enrolled, said string) bool {
	version, _, ok := strings.Cut(said, ".")
	was, _, _ := strings.Cut(enrolled, ".")
	return !ok || version != was || enrolled == said
}
