package wg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

var (
	errNoTUN       = errors.New("no TUN device")
	errNoSocketDir = errors.New("directory for the control socket")
)

// device is what a backend hands to Open: an interface that is up and has no peers.
type device struct {
	port  int
	table table
	net   network
	allow func(from netip.Addr, ports []Allowed) error // nil without a filter
	done  chan struct{}                                // closed by the backend when the device is gone
	// repair puts right what the host has of the interface, and changed receives when somebody
	// changed that. Both are nil where the host has nothing.
	repair  func() (repaired []string, err error)
	changed <-chan struct{}
	undo    undo
}

// Open brings a WireGuard interface up, without peers. A UDP port that is taken is
// [syscall.EADDRINUSE]; a mode that this system does not have is [errors.ErrUnsupported]; see
// also [ErrOverlap], [ErrForeignLink] and [ErrAdapterInUse]. When Open fails, nothing of it stays behind.
func Open(ctx context.Context, c Config) (*Interface, error) {
	c, err := c.checked()
	if err != nil {
		return nil, fmt.Errorf("open interface: %w", err)
	}
	mode, reason, d, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: %w", c.Name, err)
	}
	return &Interface{
		mode: mode, reason: reason, name: c.Name, port: d.port, address: c.Address,
		private: c.PrivateKey, public: c.PrivateKey.PublicKey(),
		table: d.table, net: d.net, allow: d.allow, done: d.done, undo: d.undo, repair: d.repair, changed: d.changed,
		asked: make(map[wgtypes.Key]Peer), owner: make(map[netip.Addr]wgtypes.Key),
	}, nil
}

// open opens the mode that was asked for, or chooses one.
func open(ctx context.Context, c Config) (Mode, string, *device, error) {
	if err := ctx.Err(); err != nil {
		return "", "", nil, err
	}
	const asked = "The configuration asks for this mode."
	switch c.Mode {
	case Kernel:
		d, err := openKernel(c)
		return Kernel, asked, d, err
	case TUN:
		d, err := openTUN(ctx, c)
		return TUN, asked, d, err
	case Netstack:
		d, err := openNetstack(c)
		return Netstack, asked, d, err
	case NT:
		d, err := openNT(ctx, c)
		return NT, asked, d, err
	}
	return choose(ctx, c)
}

// choose tries the modes from the fastest to the one that always works. Only the lack of a
// feature or of a privilege leads on to the next; every other error, a taken port or a foreign
// link, is a person's to mend.
func choose(ctx context.Context, c Config) (Mode, string, *device, error) {
	d, err := openKernel(c)
	if err == nil {
		return Kernel, "The kernel of this host has WireGuard.", d, nil
	}
	why, lacking := lacks(err)
	if !lacking {
		return "", "", nil, err
	}
	if err := ctx.Err(); err != nil {
		return "", "", nil, err
	}
	if !errors.Is(err, os.ErrPermission) {
		kernel := why
		if d, err = openTUN(ctx, c); err == nil {
			return TUN, capital(kernel) + ", so WireGuard runs inside the program, on a TUN device.", d, nil
		}
		if why, lacking = lacks(err); !lacking {
			return "", "", nil, err
		}
		why = kernel + " and " + why
	}
	if err := ctx.Err(); err != nil {
		return "", "", nil, err
	}
	d, err = openNetstack(c)
	return Netstack, capital(why) + ", so WireGuard and its network stay inside the program.", d, err
}

// lacks tells whether err means that the host or the process lacks what a mode needs, and what.
func lacks(err error) (string, bool) {
	switch {
	case errors.Is(err, errNoTUN):
		return "this host offers no TUN device", true
	case errors.Is(err, errNoSocketDir):
		return "the socket directory /var/run/wireguard cannot be written", true
	case errors.Is(err, os.ErrPermission):
		return "this process may not change the host's network (it lacks CAP_NET_ADMIN)", true
	case errors.Is(err, errors.ErrUnsupported):
		return "the kernel of this host has no WireGuard", true
	}
	return "", false
}

// capital returns s with its first letter, an ASCII one, in upper case.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
