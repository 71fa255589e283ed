package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/views"
)

// approve lets a device have tunnels. When its machine was known by another key, the
// decision says what becomes of that device.
func (s *Server) approve(ctx context.Context, p principal, id string, decision store.Decision) error {
	d, err := s.device(ctx, p, id)
	if err != nil {
		return err
	}
	if decision != "" && decision != store.Replace && decision != store.KeepBoth {
		return invalid("decision", "The decision is neither %q nor %q.", store.Replace, store.KeepBoth)
	}
	err = s.config.Store.ApproveDevice(ctx, d.ID, decision, store.Record{}.By(p.actor()))
	switch {
	case errors.Is(err, store.ErrReplaces):
		return s.replaces(ctx, p, d)
	case errors.Is(err, store.ErrConflict):
		return refuse(codeDeviceState, "The device is revoked for good. Uninstall its agent and enrol the machine anew, with a new key.")
	case errors.Is(err, store.ErrNotFound):
		return tunnel.ErrUnknownDevice
	case err != nil:
		return err
	}
	s.config.Manager.StateChanged(d.ID, store.Active)
	s.access.wake()
	if decision != store.Replace || d.Replaces == "" {
		return nil
	}
	// It is left alone when the device was approved before.
	known, err := s.config.Store.Device(ctx, d.Replaces)
	if err == nil && known.State == store.Revoked {
		s.cut(ctx, known.ID, store.Revoked)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// replaces asks what becomes of the device that was known on the same machine.
func (s *Server) replaces(ctx context.Context, p principal, d store.Device) error {
	known, err := s.knownView(ctx, p, d)
	if err != nil {
		return err
	}
	name := cmp.Or(clean(known.Hostname, maxHostname), "another device")
	f := refuse(codeReplaces, "This machine is known as %s already, with another key.", name)
	f.question = "Shall the device replace " + name + ", which is then revoked for good, or are both kept?"
	f.confirm = "Replace it"
	return f
}

// deny turns a device away that waits for approval. Its key may enrol again.
func (s *Server) deny(ctx context.Context, p principal, id string) error {
	d, err := s.device(ctx, p, id)
	if err != nil {
		return err
	}
	err = s.config.Store.DenyDevice(ctx, d.ID, store.Record{}.By(p.actor()))
	switch {
	case errors.Is(err, store.ErrConflict):
		return refuse(codeDeviceState, "The device does not wait for approval any more: it is %s. Revoke it to turn it away.", d.State)
	case errors.Is(err, store.ErrNotFound):
		return tunnel.ErrUnknownDevice
	case err != nil:
		return err
	}
	s.cut(ctx, d.ID, deviceGone)
	return nil
}

// deviceGone stands for the state of a device that was denied, or waited too long: it
// does not exist any more.
const deviceGone = "gone"

// quarantine sets a device aside until somebody decides.
func (s *Server) quarantine(ctx context.Context, p principal, id, reason string) error {
	if !tidy(reason, maxReason) {
		return invalid("reason", "The reason has more than %d characters, or some that are not visible.", maxReason)
	}
	return s.distrust(ctx, p, id, store.Quarantined, reason)
}

// revoke ends the trust in a device for good.
func (s *Server) revoke(ctx context.Context, p principal, id string) error {
	return s.distrust(ctx, p, id, store.Revoked, "")
}

func (s *Server) distrust(ctx context.Context, p principal, id, state, reason string) error {
	d, err := s.device(ctx, p, id)
	if err != nil {
		return err
	}
	if d.State == store.Revoked && state != store.Revoked {
		return refuse(codeDeviceState, "The device is revoked for good.")
	}
	err = s.config.Store.SetDeviceState(ctx, d.ID, state, time.Now(), store.Record{Reason: reason}.By(p.actor()))
	if errors.Is(err, store.ErrNotFound) {
		return tunnel.ErrUnknownDevice
	}
	if err != nil {
		return err
	}
	s.cut(ctx, d.ID, state)
	return nil
}

// cut ends what a device has open that is not trusted any more, and tells its agent
// what it is now.
func (s *Server) cut(ctx context.Context, id, state string) {
	s.config.Manager.StateChanged(id, state)
	s.config.Manager.Drop(context.WithoutCancel(ctx), id, tunnel.DeviceRevoked)
	s.access.wake()
}

// standingView is what a device's head says about the trust in it.
func (s *Server) standingView(ctx context.Context, p principal, d store.Device) (views.Standing, error) {
	v := views.Standing{Words: wordsOf(d)}
	var err error
	if d.State == store.Pending || d.State == store.Quarantined {
		if v.Known, err = s.knownView(ctx, p, d); err != nil {
			return v, err
		}
	}
	if d.State == store.Quarantined {
		lines, err := s.config.Store.Records(ctx, store.RecordQuery{Scope: p.scope(), DeviceID: d.ID, Kind: "device_quarantined", Limit: 1})
		if err != nil {
			return v, err
		}
		for _, line := range lines {
			v.Setter, v.Reason, v.SetAt = line.Actor, line.Reason, line.At
		}
	}
	closed, err := s.locksNow(ctx)
	for _, l := range closed.on(d) {
		v.Locks = append(v.Locks, lockView(l))
	}
	return v, err
}

// knownView is the device that another one may take the place of; zero when there is
// none, or none that somebody may see.
func (s *Server) knownView(ctx context.Context, p principal, d store.Device) (views.Known, error) {
	if d.Replaces == "" {
		return views.Known{}, nil
	}
	known, err := s.device(ctx, p, d.Replaces)
	if errors.Is(err, tunnel.ErrUnknownDevice) || known.State == store.Revoked {
		return views.Known{}, nil
	}
	return views.Known{ID: known.ID, Hostname: known.Hostname, State: known.State, LastSeen: known.LastSeen}, err
}

// wordsOf is a device's key in six words; "" when the key is not one.
func wordsOf(d store.Device) string {
	pin, err := keys.ParsePin(d.Pin)
	if err != nil {
		return ""
	}
	return pin.Words()
}

// trustRoutes are the decisions about devices.
func (s *Server) trustRoutes() []route {
	return []route{
		{http.MethodPost, "/devices/{id}/approve", access.ManageDevices, s.act(s.approvePage)},
		{http.MethodPost, "/devices/{id}/deny", access.ManageDevices, s.act(s.denyPage)},
		{http.MethodPost, "/devices/{id}/quarantine", access.ManageDevices, s.act(s.quarantinePage)},
		{http.MethodPost, "/devices/{id}/revoke", access.ManageDevices, s.act(s.revokePage)},
		{http.MethodPost, "/api/devices/{id}/approve", access.ManageDevices, s.call(s.apiApprove)},
		{http.MethodPost, "/api/devices/{id}/deny", access.ManageDevices, s.call(s.apiDeny)},
		{http.MethodPost, "/api/devices/{id}/quarantine", access.ManageDevices, s.call(s.apiQuarantine)},
		{http.MethodPost, "/api/devices/{id}/revoke", access.ManageDevices, s.call(s.apiRevoke)},
	}
}
