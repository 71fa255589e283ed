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
	if err = inUse(err); err != nil {
		return 0, fmt.Errorf("listen on UDP port %d: %w", c.ListenPort, err)
	}
	return port, nil
}

// inUse makes Windows' error for a port that is taken the one of all systems.
func inUse(err error) error {
	if errors.Is(err, wsaAddressInUse) {
		return fmt.Errorf("%w: %w", syscall.EADDRINUSE, err)
	}
	return err
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
		b.WriteString("replace_allowed_ips=true\n")
		if p.AllowedIP.IsValid() {
			fmt.Fprintf(&b, "allowed_ip=%s/32\n", p.AllowedIP)
		}
	}
	return t.dev.IpcSet(b.String())
}

// read implements table.
func (t *ipcTable) read() (held, error) {
	text, err := t.dev.IpcGet()
	if err != nil {
		return held{}, err
	}
	return parseDevice(text)
}

// own implements table.
func (t *ipcTable) own(key wgtypes.Key, port int) error {
	return inUse(t.dev.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=%d\n", key[:], port)))
}

// listenPort returns the UDP port the device is bound to.
func (t *ipcTable) listenPort() (int, error) {
	h, err := t.read()
	if err == nil && h.port == 0 {
		err = errors.New("device has no UDP port")
	}
	return h.port, err
}

// parseDevice reads a device's answer to "get".
func parseDevice(text string) (held, error) {
	var h held
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			continue
		}
		if key == "public_key" {
			h.peers = append(h.peers, heldPeer{})
		}
		var err error
		if n := len(h.peers); n == 0 { // still about the device itself
			err = h.parse(key, value)
		} else {
			err = h.peers[n-1].parse(key, value)
		}
		if err != nil {
			return held{}, fmt.Errorf("read %s: %w", key, err)
		}
	}
	return h, nil
}

// parse takes over one line about the device. Lines of no interest here are skipped.
func (h *held) parse(key, value string) (err error) {
	switch key {
	case "private_key":
		err = parseKey(&h.key, value)
	case "listen_port":
		h.port, err = strconv.Atoi(value)
	}
	return err
}

// parseKey reads a key in hexadecimal.
func parseKey(key *wgtypes.Key, value string) error {
	if len(value) != 2*wgtypes.KeyLen {
		return fmt.Errorf("%d hex digits, want %d", len(value), 2*wgtypes.KeyLen)
	}
	_, err := hex.Decode(key[:], []byte(value))
	return err
}

// parse takes over one line about a peer. Lines of no interest here are skipped.
func (p *heldPeer) parse(key, value string) (err error) {
	switch key {
	case "public_key":
		err = parseKey(&p.PublicKey, value)
	case "preshared_key":
		err = parseKey(&p.psk, value)
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
