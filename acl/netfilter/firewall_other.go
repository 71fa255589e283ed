//go:build !linux

package netfilter

import (
	"context"
	"errors"
	"net/netip"

	"borealis/acl"
)

// Firewall exists on Linux only.
type Firewall struct{}

// Open returns [errors.ErrUnsupported]: there is no netfilter here.
func Open(context.Context, Config) (*Firewall, error) { return nil, errors.ErrUnsupported }

// Set returns [errors.ErrUnsupported].
func (f *Firewall) Set(context.Context, acl.Plan) error { return errors.ErrUnsupported }

// Check returns [errors.ErrUnsupported].
func (f *Firewall) Check(context.Context) error { return errors.ErrUnsupported }

// Healthy returns [errors.ErrUnsupported].
func (f *Firewall) Healthy() error { return errors.ErrUnsupported }

// Counters returns [errors.ErrUnsupported].
func (f *Firewall) Counters(context.Context, netip.Addr) (Counters, error) {
	return Counters{}, errors.ErrUnsupported
}

// Close does nothing.
func (f *Firewall) Close() error { return nil }
