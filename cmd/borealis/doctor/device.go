package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"borealis/acl"
	"borealis/agent/checkup"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/tunnel"
)

// lookAtDevice adds what the database knows about a device that cannot be reached.
func (d *doctor) lookAtDevice(ctx context.Context) {
	if d.store == nil {
		d.look(func() checkup.Finding { return note("device", "", "not known: the database is not open") })
		return
	}
	dev, err := deviceByNameOrID(ctx, d.store, d.Device)
	if err != nil {
		d.look(func() checkup.Finding { return judged("device", err, "") })
		return
	}
	for _, stage := range []func(context.Context, store.Device) checkup.Finding{d.deviceState, d.deviceLocks, d.deviceSeen, d.deviceTunnel, d.devicePorts} {
		d.look(func() checkup.Finding { return stage(ctx, dev) })
	}
}

// deviceByNameOrID finds a device; a name has to be that of one device only.
func deviceByNameOrID(ctx context.Context, s *store.Store, named string) (store.Device, error) {
	found, err := s.Device(ctx, named)
	if !errors.Is(err, store.ErrNotFound) {
		return found, err
	}
	all, _, err := s.Devices(ctx, store.DeviceQuery{Scope: store.Scope{All: true}, Text: named, Limit: store.MaxPage})
	if err != nil {
		return store.Device{}, err
	}
	var same []store.Device
	for _, one := range all {
		if strings.EqualFold(one.Hostname, named) {
			same = append(same, one)
		}
	}
	switch len(same) {
	case 0:
		return store.Device{}, &hint.Error{Err: fmt.Errorf("there is no device with the name or id %q", named), Hint: "\"borealis device list\" shows all; one that never enrolled needs a code: \"borealis code new\""}
	case 1:
		return same[0], nil
	}
	return store.Device{}, &hint.Error{Err: fmt.Errorf("%d devices are called %q", len(same), named), Hint: "name one by its id; \"borealis device list\" shows them"}
}

func (d *doctor) deviceState(_ context.Context, dev store.Device) checkup.Finding {
	const name = "device"
	switch dev.State {
	case store.Active:
		return checkup.Well(name, "%s (%s) is active", dev.Hostname, dev.ID)
	case store.Pending:
		return unwell(name, "compare its words with those on the machine, then \"borealis device approve "+dev.ID+"\"", "%s waits for approval", dev.Hostname)
	case store.Quarantined:
		return unwell(name, "find out why (the audit trail says), then \"borealis device approve "+dev.ID+"\"", "%s was set aside", dev.Hostname)
	}
	return unwell(name, "uninstall its agent and enrol the machine anew, with a new key", "%s is %s for good", dev.Hostname, dev.State)
}

func (d *doctor) deviceLocks(ctx context.Context, dev store.Device) checkup.Finding {
	const name = "device lock"
	locks, err := d.store.Locks(ctx, time.Now())
	if err != nil {
		return judged(name, err, "")
	}
	for _, l := range locks {
		if l.Kind == store.LockDevice && l.Target == dev.ID {
			return unwell(name, "\"borealis device unlock "+dev.ID+"\"", "%s locked it: %s", l.By, l.Reason)
		}
		if l.Kind == store.LockSite && l.Target == dev.Site {
			return unwell(name, "\"borealis site unlock "+dev.Site+"\"", "%s locked its site: %s", l.By, l.Reason)
		}
	}
	return checkup.Well(name, "neither it nor its site is locked")
}

func (d *doctor) deviceSeen(_ context.Context, dev store.Device) checkup.Finding {
	const name = "device seen"
	if dev.LastSeen.IsZero() {
		return note(name, "see that its agent's service runs; \"borealis-agent doctor\" on the device says whether it reaches this engine", "never")
	}
	return note(name, "the console shows whether it is online now; \"borealis-agent doctor\" on the device says whether it reaches this engine",
		"it came or went last at %s", dev.LastSeen.UTC().Format(time.RFC3339))
}

func (d *doctor) deviceTunnel(ctx context.Context, dev store.Device) checkup.Finding {
	const name = "last tunnel"
	all, err := d.store.Tunnels(ctx, dev.ID, 1)
	switch {
	case err != nil:
		return judged(name, err, "")
	case len(all) == 0:
		return note(name, "", "there was none yet")
	case all[0].EndedAt.IsZero():
		return checkup.Well(name, "one is %s since %s", all[0].State, all[0].RequestedAt.UTC().Format(time.RFC3339))
	}
	meaning, remedy, fault := tunnel.Reason(all[0].Reason).Explain()
	text := fmt.Sprintf("at %s it ended: %s (%s)", all[0].EndedAt.UTC().Format(time.RFC3339), meaning, all[0].Reason)
	if fault {
		return unwell(name, remedy, "%s", text)
	}
	return note(name, remedy, "%s", text)
}

func (d *doctor) devicePorts(ctx context.Context, dev store.Device) checkup.Finding {
	const name = "ports"
	revision, overrides, err := d.store.Overrides(ctx, dev.ID)
	if err != nil {
		return judged(name, err, "")
	}
	policy := acl.Policy{OS: dev.OS, Revision: revision}
	for _, o := range overrides {
		policy.Overrides = append(policy.Overrides, acl.Override{
			Service: o.Service, Port: acl.Port{Protocol: o.Protocol, From: o.From, To: o.To}, Label: o.Label,
			Allowed: o.Allowed, Until: o.Until, Reason: o.Reason, By: o.By, At: o.At,
		})
	}
	var open []string
	for _, p := range policy.Allowed(time.Now()) {
		open = append(open, p.String())
	}
	if len(open) == 0 {
		return note(name, "open the ports that are needed on the device's page, or reset them to the defaults there", "none is allowed")
	}
	return checkup.Well(name, "%s are allowed", strings.Join(open, ", "))
}
