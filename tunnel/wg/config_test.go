package wg_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

func TestOpenRefusesBadConfig(t *testing.T) {
	t.Parallel()
	good := func() wg.Config {
		return wg.Config{Mode: wg.Netstack, PrivateKey: newKey(t), Address: engineIP}
	}
	for name, c := range map[string]struct {
		spoil func(*wg.Config)
		want  string // part of the message
	}{
		"mode":             {func(c *wg.Config) { c.Mode = "fast" }, `mode "fast"`},
		"name too long":    {func(c *wg.Config) { c.Name = "borealis-0123456" }, "interface name"},
		"name with %":      {func(c *wg.Config) { c.Name = "wg%d" }, "interface name"},
		"name with slash":  {func(c *wg.Config) { c.Name = "../wg0" }, "interface name"},
		"name in capitals": {func(c *wg.Config) { c.Name = "WG0" }, "interface name"},
		"name with digit":  {func(c *wg.Config) { c.Name = "0wg" }, "interface name"},
		"no key":           {func(c *wg.Config) { c.PrivateKey = wgtypes.Key{} }, "private key"},
		"web port":         {func(c *wg.Config) { c.ListenPort = 443 }, "443"},
		"port too high":    {func(c *wg.Config) { c.ListenPort = 65536 }, "65536"},
		"negative port":    {func(c *wg.Config) { c.ListenPort = -1 }, "-1"},
		"no address":       {func(c *wg.Config) { c.Address = netip.Addr{} }, "address"},
		"IPv6 address":     {func(c *wg.Config) { c.Address = netip.MustParseAddr("fd00::1") }, "address"},
		"address 0.0.0.0":  {func(c *wg.Config) { c.Address = netip.IPv4Unspecified() }, "address"},
		"IPv6 route":       {func(c *wg.Config) { c.Route = netip.MustParsePrefix("fd00::/64") }, "route"},
		"invalid route":    {func(c *wg.Config) { c.Route = netip.PrefixFrom(engineIP, 33) }, "route"},
		"tiny MTU":         {func(c *wg.Config) { c.MTU = 100 }, "MTU"},
		"huge MTU":         {func(c *wg.Config) { c.MTU = 70000 }, "MTU"},
		"no adapter":       {func(c *wg.Config) { c.Mode = wg.NT }, "wants an adapter"},
		"a whole network": {func(c *wg.Config) {
			c.Mode, c.Adapter, c.Route = wg.NT, new(wg.Adapter), netip.MustParsePrefix("10.255.0.0/16")
		}, "single address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := good()
			c.spoil(&config)
			i, err := wg.Open(t.Context(), config)
			if err == nil {
				i.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not speak of %q", err, c.want)
			}
		})
	}
}

func TestOpenWithEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i, err := wg.Open(ctx, wg.Config{Mode: wg.Netstack, PrivateKey: newKey(t), Address: engineIP})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v, %v; want %v", i, err, context.Canceled)
	}
}
