// Package doctor looks at everything that an engine needs, and says what is to be mended.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"time"

	"borealis/agent/checkup"
	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/tunnel/keys"
)

const (
	moreRights = "run this as the engine's user, or as root"
	patience   = 5 * time.Second // for one question to the network or another program
)

// Config says which engine to look at.
type Config struct {
	Root    engine.Root
	Seal    engine.Seal
	Listen  string // TCP address where it listens; "": the port that agents dial, on this host
	UDPPort int    // of its WireGuard
	Device  string // name or id of a device; "" looks at none
}

// A doctor looks at an engine, whether it runs or not, and changes nothing.
type doctor struct {
	Config

	store   *store.Store // nil when it cannot be opened
	held    bool         // an engine works on the data root
	pid     int          // of the engine; 0 when not known
	address string       // host:port that agents dial; "" when not known
	pin     keys.Pin     // of the engine; zero when not known
	found   []checkup.Finding
}

// A Report is what was found. In JSON it is a contract with scripts.
type Report struct {
	OK      bool              `json:"ok"` // Nothing is to be mended.
	Version string            `json:"version"`
	Checks  []checkup.Finding `json:"checks"`

	// Readable: the database is one of this program, so that opening it changes nothing.
	Readable bool `json:"-"`
}

// Examine looks at everything, in stages, and changes nothing. What stands on something that
// is broken is looked at nevertheless. It takes as long as networks and programs that do not
// answer make it wait, seconds for each; when ctx ends the rest fails at once.
func Examine(ctx context.Context, config Config) Report {
	d := doctor{Config: config}
	d.look(d.dataRoot)
	d.look(d.engineRuns)
	defer d.openStore(ctx)()
	for _, stage := range []func(context.Context) checkup.Finding{
		d.disk, d.sealKey, d.identity, d.trail, d.clock, d.files,
		d.name, d.tcp, d.webCertificate, d.agentsSide, d.publicAddress,
		d.udpPort, d.linkModes, d.mtu, d.firewall, d.forwarding, d.fleet,
	} {
		d.look(func() checkup.Finding { return stage(ctx) })
	}
	if d.Device != "" {
		d.lookAtDevice(ctx)
	}
	return Report{OK: checkup.AllOK(d.found), Version: engine.Version(), Checks: d.found, Readable: d.store != nil}
}

// look adds a finding, with the time that it took.
func (d *doctor) look(at func() checkup.Finding) {
	began := time.Now()
	d.found = append(d.found, at().Since(began))
}

// note is a finding of what is no fault, and yet may be why something does not work.
func note(name, hint, format string, args ...any) checkup.Finding {
	f := checkup.Well(name, format, args...)
	f.Hint = hint
	return f
}

// unknown is a finding of what this user may not look at.
func unknown(name string) checkup.Finding {
	return note(name, moreRights, "not known without more rights")
}

// unwell is a finding of what is to be mended.
func unwell(name, hint, format string, args ...any) checkup.Finding {
	return checkup.Unwell(name, fmt.Errorf(format, args...), hint)
}

// judged is a finding of an error: unknown when it is about rights.
func judged(name string, err error, advice string) checkup.Finding {
	if errors.Is(err, fs.ErrPermission) {
		return unknown(name)
	}
	if h, ok := errors.AsType[*hint.Error](err); ok {
		advice = h.Hint
	}
	return checkup.Unwell(name, err, cmp.Or(advice, "it should not come to this: write \"borealis support FILE\" and ask for help with it"))
}

// local is the address at which the engine listens on this host; "" when not known.
func (d *doctor) local() string {
	address := d.Listen
	if address == "" {
		address = d.address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	ip := net.ParseIP(host)
	if d.Listen == "" && (ip == nil || !ip.IsLoopback()) || host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// publicHost is the name or address that agents dial, and its port.
func (d *doctor) publicHost() (host string, port int) {
	host, text, err := net.SplitHostPort(d.address)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(text)
	return host, port
}
