package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/tailscale/wf"
	"golang.org/x/sys/windows"
)

// firewall is the part of [wf.Session] that a filter needs. Closing one, or the end of the
// process, takes all of its rules away.
type firewall interface {
	AddSublayer(*wf.Sublayer) error
	AddRule(*wf.Rule) error
	DeleteRule(wf.RuleID) error
	Close() error
}

// A filter stands before one adapter, in the Windows Filtering Platform. It lets nothing in or out
// but what is permitted, and what is permitted no other firewall of the computer takes back:
// Windows' own would, for it counts the tunnel among the public networks.
type filter struct {
	session  firewall
	sublayer wf.SublayerID
	adapter  uint64 // its LUID

	mu      sync.Mutex
	permits map[permit]wf.RuleID
}

// permit lets one address in to some ports.
type permit struct {
	from  netip.Addr
	ports Allowed
}

// errNoRule means that somebody else has deleted a rule of ours.
const errNoRule = windows.Errno(windows.FWP_E_FILTER_NOT_FOUND)

const (
	topmost      = 0xffff // weight of the sublayer: it is asked first
	permitWeight = 2
	blockWeight  = 1
)

// newFilter makes a filter that permits nothing.
func newFilter(open func() (firewall, error), adapter uint64) (_ *filter, err error) {
	session, err := open()
	if err != nil {
		return nil, fmt.Errorf("filter the adapter: %w; the service Base Filtering Engine (BFE) has to run", err)
	}
	f := &filter{session: session, adapter: adapter, permits: make(map[permit]wf.RuleID)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("filter the adapter: %w", errors.Join(err, session.Close()))
		}
	}()
	id, err := windows.GenerateGUID()
	if err != nil {
		return nil, err
	}
	f.sublayer = wf.SublayerID(id)
	if err := session.AddSublayer(&wf.Sublayer{ID: f.sublayer, Name: "Borealis tunnel", Weight: topmost}); err != nil {
		return nil, err
	}
	for _, layer := range []wf.LayerID{
		wf.LayerALEAuthRecvAcceptV4, wf.LayerALEAuthRecvAcceptV6, wf.LayerALEAuthConnectV4, wf.LayerALEAuthConnectV6,
	} {
		block := &wf.Rule{Name: "Borealis: nothing else through the tunnel", Layer: layer, Weight: blockWeight, Action: wf.ActionBlock}
		if _, err := f.add(block); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// add puts a rule about the adapter in force.
func (f *filter) add(r *wf.Rule, more ...*wf.Match) (wf.RuleID, error) {
	id, err := windows.GenerateGUID()
	if err != nil {
		return wf.RuleID{}, err
	}
	r.ID, r.Sublayer, r.HardAction = wf.RuleID(id), f.sublayer, true
	r.Conditions = append([]*wf.Match{{Field: wf.FieldIPLocalInterface, Op: wf.MatchTypeEqual, Value: f.adapter}}, more...)
	return r.ID, f.session.AddRule(r)
}

// allow makes ports all that from may reach. What was permitted before and is still is not touched.
// When it fails, nothing is permitted.
func (f *filter) allow(from netip.Addr, ports []Allowed) error {
	wanted := make(map[permit]bool, len(ports))
	for _, p := range ports {
		wanted[permit{from, p}] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.removeLocked(func(p permit) bool { return !wanted[p] })
	if err == nil {
		err = f.permitLocked(wanted)
	}
	if err == nil {
		return nil
	}
	closed := f.removeLocked(func(permit) bool { return true })
	return fmt.Errorf("allow ports through the tunnel: %w", errors.Join(err, closed))
}

// permitLocked adds what is not permitted yet.
func (f *filter) permitLocked(wanted map[permit]bool) error {
	for p := range wanted {
		if _, there := f.permits[p]; there {
			continue
		}
		id, err := f.add(permitRule(p), permitConditions(p)...)
		if err != nil {
			return err
		}
		f.permits[p] = id
	}
	return nil
}

// removeLocked takes back the permits that one does not want, and goes on after an error.
func (f *filter) removeLocked(unwanted func(permit) bool) error {
	var errs []error
	for p, id := range f.permits {
		if !unwanted(p) {
			continue
		}
		if err := f.session.DeleteRule(id); err != nil && !errors.Is(err, errNoRule) {
			errs = append(errs, err)
			continue
		}
		delete(f.permits, p)
	}
	return errors.Join(errs...)
}

// permitRule is the rule of a permit.
func permitRule(p permit) *wf.Rule {
	return &wf.Rule{
		Name:  fmt.Sprintf("Borealis: %s to %s %d-%d", p.from, p.ports.Protocol, p.ports.From, p.ports.To),
		Layer: wf.LayerALEAuthRecvAcceptV4, Weight: permitWeight, Action: wf.ActionPermit,
	}
}

// permitConditions are what it is for, apart from the adapter.
func permitConditions(p permit) []*wf.Match {
	protocol := wf.IPProtoTCP
	if p.ports.Protocol == "udp" {
		protocol = wf.IPProtoUDP
	}
	port := &wf.Match{Field: wf.FieldIPLocalPort, Op: wf.MatchTypeEqual, Value: p.ports.From}
	if p.ports.From != p.ports.To {
		port = &wf.Match{Field: wf.FieldIPLocalPort, Op: wf.MatchTypeRange, Value: wf.Range{From: p.ports.From, To: p.ports.To}}
	}
	return []*wf.Match{
		{Field: wf.FieldIPProtocol, Op: wf.MatchTypeEqual, Value: protocol},
		{Field: wf.FieldIPRemoteAddress, Op: wf.MatchTypeEqual, Value: p.from},
		port,
	}
}

// close takes the filter away.
func (f *filter) close() error { return wrapped("take the filter away", f.session.Close()) }
