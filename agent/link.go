package agent

import (
	"context"
	"log/slog"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// A dataplane is what this agent's tunnels stand on, chosen once for the agent's whole life.
type dataplane struct {
	mode   wg.Mode
	reason string // Why it is this one, in one sentence.
	driver string // Version of the driver in use, or "".
	log    *slog.Logger
}

// openDataplane chooses what the tunnels stand on. The caller closes it.
func openDataplane(_ context.Context, _ string, _ wg.Mode, log *slog.Logger) (*dataplane, error) {
	return &dataplane{mode: wg.Netstack, reason: "WireGuard and its network stay inside the agent; nothing of the host is touched.", log: log}, nil
}

// open opens the interface of one tunnel, with the key of this tunnel and without a peer.
func (d *dataplane) open(ctx context.Context, private wgtypes.Key, claims token.Claims) (*wg.Interface, error) {
	return wg.Open(ctx, wg.Config{
		Mode: d.mode, Name: linkName, PrivateKey: private, Address: claims.VirtualIP,
		Route: netip.PrefixFrom(claims.EngineIP, 32), Logger: d.log,
	})
}

// close gives back what the dataplane holds between tunnels.
func (d *dataplane) close() error { return nil }
