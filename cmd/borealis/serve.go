package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

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

func (e *engine) ready() ready {
	return ready{URL: e.url(), Listen: e.listener.Addr().String(), UDPPort: e.manager.Link().Port, Data: string(e.config.data)}
}

func (c *console) serve(ctx context.Context, args []string) error {
	f := c.flags("serve", "runs the engine: console, API and WireGuard server")
	config := engineConfig{linkName: "borealis0"}
	data := dataFlag(f)
	f.StringVar(&config.listen, "listen", ":8443", "TCP `ADDRESS` for browsers and agents")
	mode := f.String("link", "auto", "WireGuard in the kernel, on a TUN, or inside the process: auto|kernel|tun|netstack")
	f.StringVar(&config.linkName, "link-name", config.linkName, "`NAME` of the WireGuard interface")
	f.BoolVar(&config.hostUsers, "host-users", false, "let every user of this host reach the allowed ports, not the engine's own alone")
	pool := f.String("pool", tunnel.DefaultPool, "IPv4 `NETWORK` that devices get their address from")
	f.DurationVar(&config.idle, "idle", tunnel.DefaultIdle, "end a tunnel after this time without operator activity")
	f.StringVar(&config.tlsCert, "tls-cert", "", "`FILE` with the web certificate; empty means self-signed")
	f.StringVar(&config.tlsKey, "tls-key", "", "`FILE` with the web certificate's key")
	asJSON := f.Bool("json", false, "print one JSON object when ready to serve")
	sealed, signIn := sealOptions(f), signInOptions(f, &config)
	syslogOptions(f, &config.syslog)
	endpointFlags(f, &config)
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	var err error
	if config.pool, err = netip.ParsePrefix(*pool); err != nil {
		return &usageError{fmt.Sprintf("--pool: %v", err)}
	}
	if err := config.check(*mode); err != nil {
		return err
	}
	if err := signIn.apply(&config); err != nil {
		return err
	}
	config.data, config.sealed = dataRoot(*data), *sealed
	if err := config.data.made(); err != nil { // before anything is written there
		return err
	}
	log, file, err := openLog(config.data.log(), slog.NewTextHandler(c.stderr, nil))
	if err != nil {
		return err
	}
	defer file.Close()
	config.log = log
	e, err := startEngine(ctx, config)
	if err != nil {
		return err
	}
	defer e.close()
	super := supervisor{log}
	defer super.say(daemon.SdNotifyStopping)
	super.say(daemon.SdNotifyReady)
	defer super.watch(ctx, e.healthy)()
	if *asJSON {
		if err := c.printJSON(e.ready()); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stderr, "Borealis serves %s\n", e.url())
	}
	return e.wait(ctx)
}

// endpointFlags are the flags that say how the engine is reached.
func endpointFlags(f *flag.FlagSet, config *engineConfig) {
	f.IntVar(&config.udpPort, "udp-port", 30000, "UDP `PORT` of WireGuard; 0 means any")
	f.StringVar(&config.publicEndpoint, "public-endpoint", "", "`HOST[:PORT]` that agents send WireGuard packets to; empty means the host that they dialled")
	f.Func("host", "`NAME` that browsers may use for this engine besides its own; may be given more than once", func(s string) error {
		config.hosts = append(config.hosts, s)
		return nil
	})
}

// check refuses settings that cannot work.
func (c *engineConfig) check(mode string) error {
	switch c.link = wg.Mode(mode); c.link {
	case wg.Auto, wg.Kernel, wg.TUN, wg.Netstack:
	default:
		return &usageError{fmt.Sprintf("--link %q: use auto, kernel, tun or netstack", mode)}
	}
	switch {
	case c.udpPort == 443:
		return &usageError{"--udp-port 443: this port belongs to web traffic; 30000 is the usual one"}
	case c.udpPort < 0 || c.udpPort > 65535:
		return &usageError{fmt.Sprintf("--udp-port %d: a port is between 0 and 65535", c.udpPort)}
	case c.idle < time.Second:
		return &usageError{fmt.Sprintf("--idle %s: it must be a second at least", c.idle)}
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return &usageError{"--tls-cert and --tls-key go together"}
	}
	return nil
}
