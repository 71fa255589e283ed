package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"borealis/agent/wire"
	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/tunnel"
	"borealis/tunnel/wg"
)

// A ready is the line that --json prints when the engine is ready to serve.
type ready struct {
	URL     string `json:"url"`
	Listen  string `json:"listen"`
	UDPPort int    `json:"udp_port"`
	Data    string `json:"data"`
}

func readyOf(e *engine.Engine, data engine.Root) ready {
	return ready{URL: e.URL(), Listen: e.Addr().String(), UDPPort: e.Manager.Link().Port, Data: string(data)}
}

func (c *console) serve(ctx context.Context, args []string) error {
	f := c.flags("serve", "runs the engine: console, API and WireGuard server")
	config := engine.Config{LinkName: "borealis0"}
	data := dataFlag(f)
	f.StringVar(&config.Listen, "listen", ":8443", "TCP `ADDRESS` for browsers and agents")
	mode := f.String("link", "auto", "WireGuard in the kernel, on a TUN, or inside the process: auto|kernel|tun|netstack")
	f.StringVar(&config.LinkName, "link-name", config.LinkName, "`NAME` of the WireGuard interface")
	f.BoolVar(&config.HostUsers, "host-users", false, "let every user of this host reach the allowed ports, not the engine's own alone")
	pool := f.String("pool", tunnel.DefaultPool, "IPv4 `NETWORK` that devices get their address from")
	f.DurationVar(&config.Idle, "idle", tunnel.DefaultIdle, "end a tunnel after this time without operator activity")
	f.DurationVar(&config.MaxDuration, "max-duration", tunnel.DefaultMaxDuration, "end a tunnel after this time whatever happens in it")
	f.StringVar(&config.TLSCert, "tls-cert", "", "`FILE` with the web certificate; empty means self-signed")
	f.StringVar(&config.TLSKey, "tls-key", "", "`FILE` with the web certificate's key")
	asJSON := f.Bool("json", false, "print one JSON object when ready to serve")
	level := logLevel(f)
	f.StringVar(&config.Metrics, "metrics", "", "serve Prometheus metrics and the engine's state, unencrypted and to this host only, at `ADDRESS`: 127.0.0.1:9464, [::1]:PORT or unix:PATH; empty: nowhere")
	sealed, signIn := sealOptions(f), signInOptions(f, &config)
	syslogOptions(f, &config.Syslog)
	endpointFlags(f, &config)
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	var err error
	if config.Pool, err = netip.ParsePrefix(*pool); err != nil {
		return hint.Usage(fmt.Sprintf("--pool: %v", err))
	}
	if err := checkConfig(&config, *mode); err != nil {
		return err
	}
	if err := engine.CheckMetrics(config.Metrics); err != nil {
		return err
	}
	if err := signIn.apply(&config); err != nil {
		return err
	}
	config.Data, config.Seal = engine.Root(*data), *sealed
	if err := config.Data.Made(); err != nil { // before anything is written there
		return err
	}
	release, err := config.Data.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	log, file, err := engine.OpenLog(config.Data.Log(), *level, slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))
	if err != nil {
		return err
	}
	defer file.Close()
	config.Logger = log
	moderateMemory(ctx, log)
	e, err := engine.Start(ctx, config)
	if err != nil {
		return err
	}
	defer e.Close()
	super := supervisor{log}
	defer super.say(daemon.SdNotifyStopping)
	super.say(daemon.SdNotifyReady)
	defer super.watch(ctx, e.Healthy)()
	defer super.report(ctx, e.Status)()
	if *asJSON {
		if err := c.printJSON(readyOf(e, config.Data)); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stderr, "Borealis serves %s\n", e.URL())
	}
	return e.Wait(ctx)
}

// endpointFlags are the flags that say how the engine is reached.
func endpointFlags(f *flag.FlagSet, config *engine.Config) {
	f.IntVar(&config.UDPPort, "udp-port", 30000, "UDP `PORT` of WireGuard; 0 means any")
	f.StringVar(&config.PublicEndpoint, "public-endpoint", "", "`HOST[:PORT]` that agents send WireGuard packets to; empty means the host that they dialled")
	f.Func("also-at", fmt.Sprintf("`HOST:PORT` at which agents reach this engine too, now or soon: they are told, and look there when they lose it; may be given %d times", wire.MaxAddresses), func(s string) error {
		config.AlsoAt = append(config.AlsoAt, s)
		if len(config.AlsoAt) > wire.MaxAddresses {
			return fmt.Errorf("%d addresses: %d are the most", len(config.AlsoAt), wire.MaxAddresses)
		}
		return wire.CheckAddress(s)
	})
	f.Func("host", "`NAME` that browsers may use for this engine besides its own; may be given more than once", func(s string) error {
		config.Hosts = append(config.Hosts, s)
		return nil
	})
}

// checkConfig refuses settings that cannot work.
func checkConfig(c *engine.Config, mode string) error {
	switch c.Link = wg.Mode(mode); c.Link {
	case wg.Auto, wg.Kernel, wg.TUN, wg.Netstack:
	default:
		return hint.Usage(fmt.Sprintf("--link %q: use auto, kernel, tun or netstack", mode))
	}
	switch {
	case c.UDPPort == 443:
		return hint.Usage("--udp-port 443: this port belongs to web traffic; 30000 is the usual one")
	case c.UDPPort < 0 || c.UDPPort > 65535:
		return hint.Usage(fmt.Sprintf("--udp-port %d: a port is between 0 and 65535", c.UDPPort))
	case c.Idle < time.Second:
		return hint.Usage(fmt.Sprintf("--idle %s: it must be a second at least", c.Idle))
	case c.MaxDuration < 0:
		return hint.Usage(fmt.Sprintf("--max-duration %s: it must be more than nothing", c.MaxDuration))
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return hint.Usage("--tls-cert and --tls-key go together")
	}
	return nil
}
