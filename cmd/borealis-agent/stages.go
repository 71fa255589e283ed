package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"borealis/agent"
	"borealis/agent/checkup"
	"borealis/tunnel/keys"
)

// Limits of one question to the network.
const (
	lookUpTime = 5 * time.Second
	tcpTime    = 10 * time.Second
)

// way looks, stage by stage, at the way from this device to its engine and into a tunnel. A stage
// is looked at only when those before it passed: what they need is not there otherwise. Their
// names are a contract with scripts.
type way struct {
	ctx    context.Context
	data   string
	found  []checkup.Finding
	broken string // The stage that did not pass; "" so far.

	addresses []string // host:port each, where the engine may be.
	answering []string // Those of addresses that take a connection.
	engine    agent.Reached
	refused   error  // Why the engine does not take this device, once it has shown who it is.
	endpoint  string // host:port of the engine's WireGuard, as far as it is known.
	status    agent.Status
	running   bool
}

// lookAtWay looks at every stage.
func lookAtWay(ctx context.Context, data string) []checkup.Finding {
	w := &way{ctx: ctx, data: data}
	w.status, w.running, _ = agent.ReadStatus(data) // The check of the agent tells about an error.
	for _, s := range []struct {
		name string
		look func(name string) checkup.Finding
	}{
		{"identity", w.identity},
		{"dns", w.dns},
		{"tcp", w.tcp},
		{"engine", w.pin},
		{"clock", w.clock},
		{"channel", w.channel},
		{"udp", w.udp},
		{"mtu", w.mtu},
	} {
		w.stage(s.name, s.look)
	}
	return w.found
}

// stage looks at one stage, if all before it passed.
func (w *way) stage(name string, look func(name string) checkup.Finding) {
	if w.broken != "" {
		w.found = append(w.found, checkup.Well(name, "not looked at: %s comes first", w.broken))
		return
	}
	began := time.Now()
	f := look(name).Since(began)
	if !f.OK {
		w.broken = name
	}
	w.found = append(w.found, f)
}

// identity opens the keys.
func (w *way) identity(name string) checkup.Finding {
	who, err := agent.ReadFingerprint(w.data)
	if err == nil {
		w.addresses, err = agent.Whereabouts(w.data)
	}
	switch {
	case err == nil:
		return checkup.Well(name, "%s, of the engine at %s", who.Device.Words(), strings.Join(w.addresses, " or "))
	case errors.Is(err, keys.ErrNotEnrolled):
		return checkup.Unwell(name, keys.ErrNotEnrolled, "enrol the device with a code from the engine's console")
	case errors.Is(err, fs.ErrPermission):
		w.broken = "an identity that this user may read"
		return notKnown(name)
	}
	return checkup.Unwell(name, err, "")
}

// dns finds the engine's names.
func (w *way) dns(name string) checkup.Finding {
	var said []string
	var failed []error
	for _, address := range w.addresses {
		host, _, err := net.SplitHostPort(address)
		if err == nil {
			var found string
			found, err = lookUp(w.ctx, host)
			said = append(said, found)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == len(w.addresses) {
		return checkup.Unwell(name, errors.Join(failed...), "ask your network's DNS for the engine's name; if the engine has another one now: borealis-agent move HOST:PORT")
	}
	return checkup.Well(name, "%s", strings.Join(slices.DeleteFunc(said, func(s string) bool { return s == "" }), "; "))
}

// lookUp says what a host's addresses are.
func lookUp(ctx context.Context, host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host + " is an address, no name", nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if missing, ok := errors.AsType[*net.DNSError](err); ok && missing.IsNotFound {
		return "", fmt.Errorf("the name %s does not exist, as far as this device's DNS knows: %w", host, err)
	}
	if err != nil {
		return "", fmt.Errorf("the name %s was not found: this device's DNS does not answer: %w", host, err)
	}
	all := make([]string, len(found))
	for i, a := range found {
		all[i] = a.Unmap().String()
	}
	return host + " is " + strings.Join(all, ", "), nil
}

// tcp connects to the engine, and says nothing to it.
func (w *way) tcp(name string) checkup.Finding {
	var failed []error
	for _, address := range w.addresses {
		if err := connects(w.ctx, address); err != nil {
			failed = append(failed, err)
			continue
		}
		w.answering = append(w.answering, address)
	}
	if len(w.answering) == 0 {
		return checkup.Unwell(name, errors.Join(failed...), "see that the engine runs, and that every firewall on the way lets TCP out to "+strings.Join(w.addresses, " or "))
	}
	f := checkup.Well(name, "%s takes connections", strings.Join(w.answering, " and "))
	if len(failed) > 0 {
		f.Detail += "; besides: " + errors.Join(failed...).Error()
	}
	return f
}

// connects makes a connection and ends it.
func connects(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, tcpTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		return conn.Close()
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ok && timeout.Timeout():
		return fmt.Errorf("%s does not answer: packets get lost, as at a firewall that drops them, or the machine is off: %w", address, err)
	case isRefused(err):
		return fmt.Errorf("%s refuses the connection: nothing listens there, or a firewall rejects it: does the engine run, and is the port right? %w", address, err)
	case isUnreachable(err):
		return fmt.Errorf("there is no way to %s: is this device's network up, and has it a route there? %w", address, err)
	}
	return fmt.Errorf("no connection to %s: %w", address, err)
}

// pin asks who answers.
func (w *way) pin(name string) checkup.Finding {
	r, err := agent.Reach(w.ctx, w.data)
	w.engine = r
	if errors.Is(err, agent.ErrNotTaken) && !r.Engine.IsZero() {
		w.refused, err = err, nil // It is the engine, which is all that this is about.
	}
	if strange, ok := errors.AsType[*agent.PinError](err); ok {
		hint := "compare the pin with the console; is the address right?"
		if strange.Issuer != "" {
			hint = "somebody on the way ends TLS, as inspecting proxies and virus scanners do: let connections to " + strange.Address + " pass unchanged"
		}
		return checkup.Unwell(name, err, hint)
	}
	if err != nil {
		return checkup.Unwell(name, err, "see what listens at "+strings.Join(w.answering, " and ")+": it must be the engine itself, without a proxy that ends TLS")
	}
	return checkup.Well(name, "%s answers in %v and is %s", r.Address, r.Took.Round(time.Millisecond), r.Engine.Words())
}

// clock compares the device's clock with the engine's. Borealis goes by the engine's.
func (w *way) clock(name string) checkup.Finding {
	if w.refused != nil {
		return checkup.Well(name, "not known: the engine says nothing to this device")
	}
	if w.engine.Ahead.Abs() < muchClock {
		return checkup.Well(name, "as the engine's")
	}
	f := checkup.Well(name, "%v ahead of the engine's", w.engine.Ahead)
	if w.engine.Ahead < 0 {
		f.Detail = fmt.Sprintf("%v behind the engine's", -w.engine.Ahead)
	}
	f.Hint = "Borealis works with that, but set the clock: logs are hard to compare"
	return f
}

// channel asks whether the engine takes this device: the running agent knows, else the engine does.
func (w *way) channel(name string) checkup.Finding {
	switch {
	case w.refused != nil:
		return checkup.Unwell(name, w.refused, "look in the console whether the device is revoked or set aside; else enrol it again")
	case w.running && w.status.Connected:
		return checkup.Well(name, "connected to %s since %s, %s", w.status.Engine, when(w.status.Since), w.status.State)
	case w.running:
		return checkup.Unwell(name, fmt.Errorf("the agent is not connected to %s: %s", w.status.Engine, either(w.status.LastError, "it has only begun")),
			"the engine answered just now, so wait a minute for the agent's next try; if it stays, restart the agent")
	}
	return checkup.Well(name, "the engine takes this device's identity; no agent runs that could hold a channel")
}
