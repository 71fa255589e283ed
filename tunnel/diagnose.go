package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"borealis/acl"
	"borealis/agent/checkup"
	"borealis/agent/wire"
	"borealis/store"
)

// diagnoseTimeout bounds [Manager.Diagnose]. It is a little less than the five seconds that are
// promised, for what comes after the last probe.
const diagnoseTimeout = 4800 * time.Millisecond

// A diagnosis is what is found about one device, in the order in which things have to be right.
type diagnosis struct {
	manager *Manager
	device  store.Device
	policy  acl.Policy
	now     time.Time
	all     []checkup.Finding
}

// Diagnose says why a device cannot be reached, or that it can: what has to be right, in that
// order, each with what to do about it. With a live tunnel it tries the ports that are allowed, and
// tells a network that blocks UDP from a policy that denies. It takes five seconds at most, and
// changes nothing. The error is [ErrUnknownDevice] for an unknown device.
func (m *Manager) Diagnose(ctx context.Context, deviceID string) ([]checkup.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	policy, err := m.policy(ctx, d)
	if err != nil {
		return nil, err
	}
	x := &diagnosis{manager: m, device: d, policy: policy, now: time.Now()}
	if err := x.standing(ctx); err != nil {
		return nil, err
	}
	x.agent()
	x.engine()
	if err := x.localPolicy(ctx); err != nil {
		return nil, err
	}
	s := m.session(d.ID)
	if s == nil || s.device.ID != d.ID {
		if err := x.lastTunnel(ctx); err != nil {
			return nil, err
		}
		x.ports(nil)
		return x.all, nil
	}
	x.liveTunnel(ctx, s)
	return x.all, nil
}

func (x *diagnosis) well(name, format string, args ...any) {
	x.all = append(x.all, checkup.Well(name, format, args...))
}

// unwell is a finding of what is to be mended.
func (x *diagnosis) unwell(name, hint, format string, args ...any) {
	x.all = append(x.all, checkup.Unwell(name, fmt.Errorf(format, args...), hint))
}

// note is a finding of what is as it should be, and yet may be why something does not work.
func (x *diagnosis) note(name, hint, format string, args ...any) {
	f := checkup.Well(name, format, args...)
	f.Hint = hint
	x.all = append(x.all, f)
}

// standing looks at what people have decided about the device.
func (x *diagnosis) standing(ctx context.Context) error {
	err := x.manager.unlocked(ctx, x.device)
	locked, is := errors.AsType[*LockedError](err)
	if err != nil && !is {
		return err
	}
	const name = "device"
	switch {
	case x.device.State == store.Pending:
		x.unwell(name, "An administrator compares the words of its key with those on the machine, and approves it under Enrolment.", "it waits for approval")
	case x.device.State == store.Quarantined:
		x.unwell(name, "An administrator finds out why, and approves it again.", "it was set aside: nobody can connect to it")
	case x.device.State != store.Active:
		x.unwell(name, "Uninstall its agent and enrol the machine anew, with a new key.", "its key is %s for good", x.device.State)
	case is:
		x.unwell(name, "An administrator can lift the lock.", "%w", locked)
	default:
		x.well(name, "active, and not locked")
	}
	return nil
}

// agent looks at the agent's connection.
func (x *diagnosis) agent() {
	const name = "agent"
	c := x.manager.channel(x.device.ID)
	if c == nil {
		err := &OfflineError{LastSeen: x.device.LastSeen}
		x.unwell(name, "See that the device is on and has its network, and that the agent's service runs. \"borealis-agent doctor\" on the device says whether it reaches this engine.", "%w", err)
		return
	}
	text := fmt.Sprintf("online for %s, version %s", x.span(c.presence.Since), orUnknown(c.hello.Version))
	if c.hello.Protocol < wire.Protocol {
		x.note(name, "Update the agent to have all that this engine can do.", "%s, which is older than this engine", text)
		return
	}
	x.well(name, "%s", text)
}

// engine looks at what all tunnels stand on.
func (x *diagnosis) engine() {
	m := x.manager
	if l := m.Link(); l.Err != nil {
		x.unwell("engine link", "The engine keeps trying. \"borealis doctor\" on its host says what is in the way.", "%w", l.Err)
	} else {
		x.well("engine link", "WireGuard is open on UDP port %d (%s)", l.Port, l.Mode)
	}
	switch f := m.Firewall(); {
	case f.Err != nil:
		x.unwell("firewall", "See what changes the packet filter of the engine's host; the engine puts its rules back every second.", "the engine's rules do not hold: %w", f.Err)
	case f.Kind == byNone:
		x.well("firewall", "none is needed: the tunnels' network lives inside the engine")
	default:
		x.well("firewall", "the engine's rules are in place (%s)", f.Kind)
	}
	if err := m.Recording(); err != nil {
		x.unwell("audit trail", "Free space on the engine's disk, or mend it: what cannot be recorded is refused.", "%w", err)
	} else {
		x.well("audit trail", "it can be written")
	}
}

// localPolicy looks at what the device's owner forbids, as its agent said.
func (x *diagnosis) localPolicy(ctx context.Context) error {
	i, _, err := x.manager.Inventory(ctx, x.device.ID)
	if err != nil {
		return err
	}
	if len(i.Limits) == 0 {
		x.well("local policy", "the device has none")
		return nil
	}
	x.note("local policy", "Only the device's owner can change that, in the policy file on the device.", "the device's owner limits it: %s", bounded(strings.Join(i.Limits, " ")))
	return nil
}

// lastTunnel looks at how the last tunnel ended, when there is none now.
func (x *diagnosis) lastTunnel(ctx context.Context) error {
	last, err := x.manager.config.Store.Tunnels(ctx, x.device.ID, 1)
	if err != nil {
		return fmt.Errorf("read the last tunnel: %w", err)
	}
	const name = "last tunnel"
	if len(last) == 0 {
		x.well(name, "there was none yet")
		return nil
	}
	t := last[0]
	end := remedies[Reason(t.Reason)]
	text := fmt.Sprintf("it ended %s: %s", x.ago(t.EndedAt), end.what)
	if i := slices.IndexFunc(t.Steps, func(s store.Step) bool { return s.Name == string(Closing) && s.Detail != "" }); i >= 0 {
		text += " (" + bounded(t.Steps[i].Detail) + ")"
	}
	switch {
	case end.fault:
		x.unwell(name, end.do, "%s", text)
	default:
		x.note(name, end.do, "%s", text)
	}
	return nil
}

// ago is when something was, in words.
func (x *diagnosis) ago(at time.Time) string {
	if x.now.Sub(at) < time.Second {
		return "just now"
	}
	return x.span(at) + " ago"
}

// span is the time since something, in words.
func (x *diagnosis) span(since time.Time) string { return spanText(x.now.Sub(since)) }

// spanText writes a length of time in its largest unit: 17 s, 15 min, 2 h, 3 days.
func spanText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
