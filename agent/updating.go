package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"borealis/agent/release"
	"borealis/agent/update"
	"borealis/agent/wire"
)

// updates is how an agent replaces its own program. Only the channels are for more than one
// goroutine; what is untold is guarded by Agent.mu.
type updates struct {
	place     update.Place
	publisher ed25519.PublicKey // Whose releases are taken; nil: nobody's.
	sequence  int64             // Of the release that runs.

	turn    chan struct{} // Full from an offer that is taken until it has failed.
	offers  chan string   // The manifest whose turn it is, for keepUpdated.
	restart chan struct{} // Closed when another program is in place of this one.
	untold  *wire.Updated // What the engine has to hear as soon as it can.
}

func newUpdates(c Config) updates {
	publisher, _ := release.Publisher()
	return updates{
		place: update.Place{Exe: c.Exe, Data: c.Data}, publisher: publisher, sequence: release.Sequence(),
		turn: make(chan struct{}, 1), offers: make(chan string, 1), restart: make(chan struct{}),
	}
}

// resume goes on with an update that this program is the result of, or tidies up after one.
func (u updates) resume(log *slog.Logger) {
	if u.place.Exe == "" {
		return
	}
	if err := u.place.Resume(); err != nil {
		log.Error("update_not_resumed", "err", err)
	}
}

// offered takes an update that an administrator asked for, or says why not. It does not wait.
func (a *Agent) offered(m wire.Update) {
	select {
	case a.updates.turn <- struct{}{}:
		a.updates.offers <- m.Manifest
	default:
		a.updated("", wire.UpdateRefused, errors.New("another update is under way"))
	}
}

// keepUpdated carries out the updates that are offered, one at a time, until one has put
// another program in place of this one, or ctx ends.
func (a *Agent) keepUpdated(ctx context.Context) {
	for {
		select {
		case manifest := <-a.updates.offers:
			version, outcome, why := a.update(ctx, manifest)
			if outcome != wire.UpdateStarted {
				<-a.updates.turn // Who hears the outcome may offer another at once.
			}
			a.updated(version, outcome, why)
			if outcome == wire.UpdateStarted {
				close(a.updates.restart)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// update carries out one update, to what version. When its outcome is UpdateStarted, another
// program is in place now; else it says why not.
func (a *Agent) update(ctx context.Context, manifest string) (version, outcome string, why error) {
	m, file, err := a.acceptable(manifest)
	if err != nil {
		return m.Version, wire.UpdateRefused, err
	}
	a.log.Info("update_begins", "reason", m.Version)
	err = a.updates.place.Stage(file, func(w io.Writer) error {
		return a.fetch(ctx, wire.File{SHA256: file.SHA256, Size: file.Size}, w)
	})
	if err == nil {
		err = a.updates.place.Begin(a.version, m)
	}
	if err != nil {
		return m.Version, wire.UpdateFailed, err
	}
	return m.Version, wire.UpdateStarted, nil
}

// acceptable reads a manifest and finds the program for this device, or says why it is not
// taken.
func (a *Agent) acceptable(manifest string) (release.Manifest, release.File, error) {
	u := &a.updates
	switch {
	case u.publisher == nil:
		return release.Manifest{}, release.File{}, errors.New("this build of the agent takes no updates: it knows no publisher. Install a release on the device")
	case u.place.Exe == "":
		return release.Manifest{}, release.File{}, errors.New("this agent does not run as a service of Windows, so nobody would start the new version. Update it on the device")
	}
	m, err := release.Read(manifest, u.publisher)
	if err != nil {
		return release.Manifest{}, release.File{}, err
	}
	switch file, ok := m.For(a.facts.os, a.facts.arch); {
	case !a.limits.Updates():
		return m, file, errors.New("the device's own policy takes no updates from the engine")
	case m.Sequence <= u.sequence:
		return m, file, fmt.Errorf("version %s is not newer than %s, which runs", m.Version, a.version)
	case !ok:
		return m, file, fmt.Errorf("version %s has no program for %s on %s", m.Version, a.facts.os, a.facts.arch)
	default:
		return m, file, nil
	}
}

// checkIn is called when the engine has welcomed this program. It confirms the update that
// this program is the result of, and tells the engine what it has not heard yet.
func (a *Agent) checkIn() {
	if a.updates.place.Exe != "" {
		s, news, err := a.updates.place.Settle(a.updates.sequence)
		switch {
		case err != nil:
			a.log.Error("update_not_settled", "err", err)
		case news && s.Phase == update.Confirmed:
			a.updated(s.To, wire.UpdateDone, nil)
		case news:
			a.updated(s.To, wire.UpdateRolledBack, errors.New(s.Reason))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.updates.untold != nil {
		a.tellLocked(wire.FromAgent{Updated: a.updates.untold})
		a.updates.untold = nil
	}
}

// updated tells the engine, now or when it can be told, and the log what became of an
// update; why may be nil.
func (a *Agent) updated(version, outcome string, why error) {
	m := wire.Updated{Version: clean(version, maxName), Outcome: outcome}
	if why != nil {
		m.Detail = sentence(why)
		a.log.Warn("agent_update", "reason", outcome, "err", why)
	} else {
		a.log.Info("agent_update", "reason", outcome+" "+m.Version)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out == nil {
		a.updates.untold = &m
		return
	}
	a.tellLocked(wire.FromAgent{Updated: &m})
}

// sentence is an error as a person reads it.
func sentence(err error) string {
	s := clean(err.Error(), maxSentence)
	if s == "" {
		return ""
	}
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(s[n:], ".") + "."
}
