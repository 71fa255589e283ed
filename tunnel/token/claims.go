package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/keys"
)

// Longest values of the strings in a token, in bytes.
const (
	maxID    = 128
	maxHost  = 255 + len("[]:65535")
	maxKeyID = 64
)

// body is the JSON form of [Claims].
type body struct {
	Issuer    keys.Pin `json:"iss"`
	Audience  keys.Pin `json:"aud"`
	Subject   string   `json:"sub"`
	ID        string   `json:"jti"`
	IssuedAt  string   `json:"iat"`
	NotBefore string   `json:"nbf"`
	Expires   string   `json:"exp"`
	Nonce     string   `json:"nonce"`
	ServerKey []byte   `json:"server_key"`
	Endpoint  string   `json:"endpoint"`
	VirtualIP string   `json:"virtual_ip"`
	EngineIP  string   `json:"engine_ip"`
	Ports     []Port   `json:"ports"`
	Idle      int64    `json:"idle_seconds"`
	ShellKey  []byte   `json:"shell_key"`
}

// members are the names in body; a token has them all and no other.
var members = [...]string{
	"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "nonce", "server_key", "endpoint",
	"virtual_ip", "engine_ip", "ports", "idle_seconds", "shell_key",
}

// encode returns the JSON form of claims that are well formed.
func encode(c Claims) ([]byte, error) {
	c.IssuedAt = c.IssuedAt.UTC().Truncate(time.Second)
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Ports == nil {
		c.Ports = []Port{}
	}
	return json.Marshal(body{
		Issuer: c.Engine, Audience: c.Agent, Subject: c.Tunnel, ID: c.ID,
		IssuedAt:  c.IssuedAt.Format(time.RFC3339),
		NotBefore: c.IssuedAt.Add(-Early).Format(time.RFC3339),
		Expires:   c.IssuedAt.Add(Lifetime).Format(time.RFC3339),
		Nonce:     c.Nonce, ServerKey: c.ServerKey[:], Endpoint: c.Endpoint,
		VirtualIP: c.VirtualIP.String(), EngineIP: c.EngineIP.String(),
		Ports: c.Ports, Idle: int64(c.Idle / time.Second), ShellKey: c.ShellKey,
	})
}

// decode reads what encode wrote and refuses everything else: a member too few
// or too many, another window of time, another spelling of an address.
func decode(b []byte) (Claims, error) {
	if err := exactly(b, members[:]); err != nil {
		return Claims{}, err
	}
	var raw body
	if err := strict(b, &raw); err != nil {
		return Claims{}, err
	}
	c := Claims{
		Engine: raw.Issuer, Agent: raw.Audience, Tunnel: raw.Subject, ID: raw.ID, Nonce: raw.Nonce,
		Endpoint: raw.Endpoint, Ports: raw.Ports, ShellKey: raw.ShellKey,
	}
	if raw.Idle <= 0 || raw.Idle > int64(maxIdle/time.Second) {
		return Claims{}, errors.New("idle time out of range")
	}
	c.Idle = time.Duration(raw.Idle) * time.Second
	if len(raw.ServerKey) != wgtypes.KeyLen {
		return Claims{}, errors.New("server key of the wrong length")
	}
	c.ServerKey = wgtypes.Key(raw.ServerKey)
	var err error
	if c.VirtualIP, err = netip.ParseAddr(raw.VirtualIP); err != nil {
		return Claims{}, fmt.Errorf("virtual address: %w", err)
	}
	if c.EngineIP, err = netip.ParseAddr(raw.EngineIP); err != nil {
		return Claims{}, fmt.Errorf("engine address: %w", err)
	}
	if c.IssuedAt, err = window(raw); err != nil {
		return Claims{}, err
	}
	return c, c.check()
}

// exactly wants a JSON object with these members and no other.
func exactly(b []byte, members []string) error {
	var present map[string]json.RawMessage
	if err := strict(b, &present); err != nil {
		return err
	}
	for _, m := range members {
		if v, ok := present[m]; !ok || string(v) == "null" {
			return fmt.Errorf("no %s", m)
		}
	}
	if len(present) != len(members) {
		return errors.New("more than the known claims")
	}
	return nil
}

// maxIdle bounds the idle time that a token may name.
const maxIdle = 30 * 24 * time.Hour

// window returns when the token was issued, if its other times follow from that.
func window(raw body) (time.Time, error) {
	issued, err := time.Parse(time.RFC3339, raw.IssuedAt)
	if err != nil {
		return time.Time{}, fmt.Errorf("time of issue: %w", err)
	}
	issued = issued.UTC()
	if raw.IssuedAt != issued.Format(time.RFC3339) ||
		raw.NotBefore != issued.Add(-Early).Format(time.RFC3339) ||
		raw.Expires != issued.Add(Lifetime).Format(time.RFC3339) {
		return time.Time{}, errors.New("times that do not belong together")
	}
	return issued, nil
}

// check says what is wrong with claims, whoever they are for.
func (c Claims) check() error {
	switch {
	case c.Engine.IsZero() || c.Agent.IsZero():
		return errors.New("no engine or no agent")
	case !plain(c.Tunnel, maxID) || !plain(c.ID, maxID) || !plain(c.Nonce, maxID):
		return errors.New("tunnel, token id or nonce is empty, too long or not plain")
	case c.IssuedAt.Year() < 2000 || c.IssuedAt.Year() > 9000:
		return errors.New("time of issue out of range")
	case c.ServerKey == (wgtypes.Key{}):
		return errors.New("zero server key")
	case len(c.ShellKey) != ed25519.PublicKeySize || string(c.ShellKey) == string(make([]byte, ed25519.PublicKeySize)):
		return errors.New("shell key of the wrong length or zero")
	case !unicast(c.VirtualIP) || !unicast(c.EngineIP):
		return errors.New("virtual addresses are not IPv4 addresses of one host")
	case c.VirtualIP == c.EngineIP:
		return errors.New("agent and engine have the same virtual address")
	case c.Idle < time.Second || c.Idle > maxIdle:
		return errors.New("idle time out of range")
	}
	if err := checkPorts(c.Ports); err != nil {
		return err
	}
	return endpoint(c.Endpoint)
}

// checkPorts says what is wrong with ranges of ports.
func checkPorts(ports []Port) error {
	for _, p := range ports {
		if p.Protocol != "tcp" && p.Protocol != "udp" || p.From == 0 || p.From > p.To {
			return fmt.Errorf("port range %q %d-%d", p.Protocol, p.From, p.To)
		}
	}
	return nil
}

// unicast reports whether an address can be a host's in a tunnel.
func unicast(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// endpoint says what is wrong with a host:port.
func endpoint(s string) error {
	if !plain(s, maxHost) {
		return errors.New("endpoint is empty, too long or not plain")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return errors.New("endpoint without host or port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("endpoint without a port number")
	}
	return nil
}

// plain reports whether s is 1 to limit bytes of visible ASCII.
func plain(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// strict decodes exactly one JSON value without unknown members.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
