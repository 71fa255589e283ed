package wg

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	wgdevice "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// wsaAddressInUse is what Windows has for EADDRINUSE. No other system has this number.
const wsaAddressInUse = syscall.Errno(10048)

// ipcTable is the peer table of a device in this process, spoken to without a socket in
// WireGuard's configuration protocol (https://www.wireguard.com/xplatform/).
type ipcTable struct {
	dev *wgdevice.Device
}

// start gives the device its key and its port, takes it up and returns the port.
func (t *ipcTable) start(c Config) (port int, err error) {
	config := fmt.Sprintf("private_key=%x\nlisten_port=%d\n", c.PrivateKey[:], c.ListenPort)
	err = t.dev.IpcSet(config)
	if err == nil {
		err = t.dev.Up()
	}
	if err == nil {
		port, err = t.listenPort()
	}
	if err == nil && c.ListenPort != 0 && port != c.ListenPort {
		// A TUN device that comes up at this moment takes WireGuard up too, and when that fails
		// the device forgets its port and is content with any other.
		err = syscall.EADDRINUSE
	}
	if errors.Is(err, wsaAddressInUse) {
		err = fmt.Errorf("%w: %w", syscall.EADDRINUSE, err)
	}
	if err != nil {
		return 0, fmt.Errorf("listen on UDP port %d: %w", c.ListenPort, err)
	}
	return port, nil
}

// set implements table.
func (t *ipcTable) set(replace bool, changes []change) error {
	var b strings.Builder
	if replace {
		b.WriteString("replace_peers=true\n")
	}
	for _, c := range changes {
		p := c.peer
		fmt.Fprintf(&b, "public_key=%x\n", p.PublicKey[:])
		if c.remove {
			b.WriteString("remove=true\n")
			continue
		}
		fmt.Fprintf(&b, "preshared_key=%x\n", p.PresharedKey[:])
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "endpoint=%s\n", unmap(p.Endpoint))
		}
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", int(p.Keepalive/time.Second))
		fmt.Fprintf(&b, "replace_allowed_ips=true\nallowed_ip=%s/32\n", p.AllowedIP)
	}
	return t.dev.IpcSet(b.String())
}

// list implements table.
func (t *ipcTable) list() ([]PeerState, error) {
	text, err := t.dev.IpcGet()
	if err != nil {
		return nil, err
	}
	return parsePeers(text)
}

// listenPort returns the UDP port the device is bound to.
func (t *ipcTable) listenPort() (int, error) {
	text, err := t.dev.IpcGet()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "listen_port="); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, errors.New("device has no UDP port")
}

// parsePeers reads the peers out of a device's answer to "get".
func parsePeers(text string) ([]PeerState, error) {
	var peers []PeerState
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			continue
		}
		if key == "public_key" {
			peers = append(peers, PeerState{})
		}
		if len(peers) == 0 {
			continue // still about the device itself
		}
		if err := peers[len(peers)-1].parse(key, value); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
	}
	return peers, nil
}

// parse takes over one line about a peer. Lines of no interest here are skipped.
func (p *PeerState) parse(key, value string) (err error) {
	switch key {
	case "public_key":
		if len(value) != 2*wgtypes.KeyLen {
			return fmt.Errorf("%d hex digits, want %d", len(value), 2*wgtypes.KeyLen)
		}
		_, err = hex.Decode(p.PublicKey[:], []byte(value))
	case "endpoint":
		p.Endpoint, err = netip.ParseAddrPort(value)
		p.Endpoint = unmap(p.Endpoint)
	case "last_handshake_time_sec":
		var n int64
		if n, err = strconv.ParseInt(value, 10, 64); n != 0 {
			p.LastHandshake = time.Unix(n, 0)
		}
	case "last_handshake_time_nsec":
		var n int64
		if n, err = strconv.ParseInt(value, 10, 64); !p.LastHandshake.IsZero() {
			p.LastHandshake = p.LastHandshake.Add(time.Duration(n))
		}
	case "rx_bytes":
		p.ReceivedBytes, err = strconv.ParseInt(value, 10, 64)
	case "tx_bytes":
		p.SentBytes, err = strconv.ParseInt(value, 10, 64)
	case "allowed_ip":
		var ip netip.Prefix
		ip, err = netip.ParsePrefix(value)
		p.AllowedIPs = append(p.AllowedIPs, ip)
	}
	return err
}

// unmap writes an IPv4 address that came as an IPv6 one in its own form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
