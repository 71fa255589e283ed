package netfilter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// Ports of the world. Every machine listens on them all, by TCP and UDP, on all its addresses.
const (
	uiPort       = 7000 // the engine's web interface, so to speak
	listedPort   = 7001
	unlistedPort = 7002
	firstPort    = 7000
	lastPort     = 7031
)

// node is a machine: it listens and, with a tunnel, is a hostile agent whose side of WireGuard
// takes packets of every address. Arguments: mode, private key, engine's key, engine's endpoint,
// own IPv4, own IPv6, and networks to send through the tunnel. Mode none means no tunnel.
func node(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	for port := firstPort; port <= lastPort; port++ {
		if err := echo(ctx, ":"+strconv.Itoa(port)); err != nil {
			return err
		}
	}
	if args[0] != "none" {
		i, err := hostile(ctx, args)
		if err != nil {
			return err
		}
		defer i.Close()
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// echo returns what is sent to an address, by TCP and UDP, of IPv4 and IPv6.
func echo(ctx context.Context, at string) error {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", at)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	for _, network := range []string{"udp4", "udp6"} {
		p, err := c.ListenPacket(ctx, network, at)
		if err != nil {
			return err
		}
		go func() {
			b := make([]byte, 2048)
			for {
				n, from, err := p.ReadFrom(b)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				_, _ = p.WriteTo(b[:n], from)
			}
		}()
	}
	return nil
}

// hostile opens an agent's end of a tunnel and then edits it by hand.
func hostile(ctx context.Context, args []string) (*wg.Interface, error) {
	key, err1 := wgtypes.ParseKey(args[1])
	engine, err2 := wgtypes.ParseKey(args[2])
	endpoint, err3 := netip.ParseAddrPort(args[3])
	own, err4 := netip.ParseAddr(args[4])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	i, err := wg.Open(ctx, wg.Config{Mode: wg.Mode(args[0]), PrivateKey: key, Address: own, Route: pool})
	if err != nil {
		return nil, err
	}
	err = i.AddPeer(wg.Peer{PublicKey: engine, AllowedIP: engineAt, Endpoint: endpoint, Keepalive: time.Second})
	commands := []string{
		"wg set borealis0 peer " + engine.String() + " allowed-ips 0.0.0.0/0,::/0",
		"ip -6 address add " + args[5] + "/64 dev borealis0 nodad",
	}
	for _, net := range args[6:] {
		commands = append(commands, "ip route add "+net+" dev borealis0")
	}
	if err == nil {
		err = runAll(ctx, commands)
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func runAll(ctx context.Context, commands []string) error {
	for _, c := range commands {
		words := strings.Fields(c)
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, out)
		}
	}
	return nil
}

// self is this program in a role.
func self(role string, args ...string) *exec.Cmd {
	// By this name users who may not enter the directory can run it, too.
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}
