package handlers

import (
	"context"
	"errors"
	"slices"

	"borealis/store"
	"borealis/tunnel"
)

// device reads a device that a person or program named. One that is out of their scope
// is as unknown as one that does not exist.
func (s *Server) device(ctx context.Context, p principal, id string) (store.Device, error) {
	d, err := s.config.Store.Device(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.scope().Has(d.Site) {
		return store.Device{}, tunnel.ErrUnknownDevice
	}
	return d, err
}

// status reads a device's tunnel, within a principal's scope.
func (s *Server) status(ctx context.Context, p principal, id string) (tunnel.Status, error) {
	if _, err := s.device(ctx, p, id); err != nil {
		return tunnel.Status{}, err
	}
	return s.config.Manager.Status(ctx, id)
}

// tunnels are the live tunnels to devices within a principal's scope, oldest first.
func (s *Server) tunnels(p principal) []tunnel.Status {
	scope := p.scope()
	return slices.DeleteFunc(s.config.Manager.Tunnels(), func(t tunnel.Status) bool { return !scope.Has(t.Site) })
}

// hasTunnel is the error when there is no live tunnel of that id within a principal's
// scope.
func (s *Server) hasTunnel(p principal, id string) error {
	if slices.ContainsFunc(s.tunnels(p), func(t tunnel.Status) bool { return t.TunnelID == id }) {
		return nil
	}
	return tunnel.ErrNotConnected
}
