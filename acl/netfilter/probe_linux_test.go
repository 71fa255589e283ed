package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Results of a probe.
const (
	answers = "answers"
	refused = "refused" // at once, by the host of who asks
	silent  = "silent"
)

// probeAll makes probes at the same time and writes a result on a line for each. Arguments: for
// each the time it has and what it is, like tcp/10.255.0.2:7001, tcp/10.255.0.2:7001/3389 (from
// that port), udp/… and icmp/10.255.0.2.
func probeAll(args []string) error {
	results := make([]string, len(args)/2)
	var work sync.WaitGroup
	for n := range results {
		limit, err := time.ParseDuration(args[2*n])
		if err != nil {
			return err
		}
		work.Go(func() { results[n] = probe(args[2*n+1], limit) })
	}
	work.Wait()
	_, err := fmt.Fprintln(os.Stdout, strings.Join(results, "\n"))
	return err
}

func probe(what string, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	words := strings.Split(what, "/")
	err := fmt.Errorf("what is %q", what)
	switch words[0] {
	case "tcp", "udp":
		err = probePort(ctx, words)
	case "icmp":
		err = probeICMP(ctx, netip.MustParseAddr(words[1]))
	}
	switch {
	case err == nil:
		return answers
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrPermission):
		return refused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return silent
	}
	return err.Error()
}

// probePort sends until something comes back.
func probePort(ctx context.Context, words []string) error {
	var d net.Dialer
	if len(words) > 2 {
		port, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		d.LocalAddr, d.Control = &net.TCPAddr{Port: port}, again
	}
	c, err := d.DialContext(ctx, words[0], words[1])
	if err != nil {
		return err
	}
	defer c.Close()
	if words[0] == "udp" {
		return repeat(ctx, c.Write, c)
	}
	return once(ctx, c)
}

// again lets a port be used that was used a moment ago.
func again(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, failed)
}

// once expects an echo of a connection that is open.
func once(ctx context.Context, c net.Conn) error {
	end, _ := ctx.Deadline()
	if err := c.SetDeadline(end); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

type reader interface {
	SetReadDeadline(time.Time) error
	Read([]byte) (int, error)
}

// repeat sends again and again, because datagrams get lost while a tunnel comes up.
func repeat(ctx context.Context, send func([]byte) (int, error), c reader) error {
	b := make([]byte, 1500)
	for {
		if _, err := send([]byte("x")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		_, err := c.Read(b)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// packets makes an ICMP socket a reader.
type packets struct{ *icmp.PacketConn }

func (p packets) Read(b []byte) (int, error) { n, _, err := p.ReadFrom(b); return n, err }

func probeICMP(ctx context.Context, to netip.Addr) error {
	network, kind := "udp4", icmp.Type(ipv4.ICMPTypeEcho)
	if to.Is6() {
		network, kind = "udp6", ipv6.ICMPTypeEchoRequest
	}
	c, err := icmp.ListenPacket(network, "")
	if err != nil {
		return fmt.Errorf("no ping for this user: %v", err)
	}
	defer c.Close()
	text, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{Seq: 1}}).Marshal(nil)
	if err != nil {
		return err
	}
	send := func([]byte) (int, error) { return c.WriteTo(text, &net.UDPAddr{IP: to.AsSlice()}) }
	return repeat(ctx, send, packets{c})
}
