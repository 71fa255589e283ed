package wire

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"borealis/tunnel/keys"
)

// codePrefix names the format of an enrolment code.
const codePrefix = "brl1."

// secretLength is the length of a secret: 130 bits at 5 bits a character.
const secretLength = 26

// maxCode bounds the text that ParseCode looks at.
const maxCode = 512

// hostName is a DNS name: labels of letters, digits, hyphens and underscores.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)

// Code is an enrolment code: where the engine is, how to know it, and a secret
// that shows that the agent was invited.
type Code struct {
	Address string   // host:port.
	Pin     keys.Pin // The engine's identity.
	Secret  string   // 26 characters of A-Z and 2-7; the engine keeps its hash only.
}

// NewSecret returns a fresh secret of 130 random bits.
func NewSecret() string { return rand.Text() }

// String returns the code as brl1.<host:port>.<pin>.<secret>. It holds the
// secret: show it once and never log it.
func (c Code) String() string {
	return codePrefix + c.Address + "." + c.Pin.String() + "." + c.Secret
}

// ParseCode reads a code as a person pasted it. Its errors say which part is
// wrong and never repeat the secret.
func ParseCode(s string) (Code, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxCode {
		return Code{}, errors.New("enrolment code: too long")
	}
	rest, ok := strings.CutPrefix(s, codePrefix)
	if !ok {
		return Code{}, fmt.Errorf("enrolment code: does not begin with %q", codePrefix)
	}
	rest, secret, ok := cutLast(rest)
	if !ok {
		return Code{}, errors.New("enrolment code: incomplete, want brl1.<host:port>.<pin>.<secret>")
	}
	address, pinText, ok := cutLast(rest)
	if !ok {
		return Code{}, errors.New("enrolment code: incomplete, want brl1.<host:port>.<pin>.<secret>")
	}
	if err := CheckAddress(address); err != nil {
		return Code{}, fmt.Errorf("enrolment code: address: %w", err)
	}
	pin, err := keys.ParsePin(pinText)
	if err != nil {
		return Code{}, fmt.Errorf("enrolment code: pin: %w", err)
	}
	if err := checkSecret(secret); err != nil {
		return Code{}, fmt.Errorf("enrolment code: secret: %w", err)
	}
	return Code{Address: address, Pin: pin, Secret: secret}, nil
}

// cutLast cuts s around its last dot.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// checkSecret says what is wrong with the form of a secret.
func checkSecret(s string) error {
	if len(s) != secretLength {
		return fmt.Errorf("%d characters, not %d", len(s), secretLength)
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return errors.New("a character other than A-Z and 2-7")
		}
	}
	return nil
}

// CheckAddress says what is wrong with a host:port that an agent is to dial, or returns nil.
func CheckAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if zone := addr.Zone(); zone != "" && !hostName.MatchString(zone) {
			return fmt.Errorf("host with the zone %q", zone)
		}
	} else if len(host) > 253 || !hostName.MatchString(host) {
		return fmt.Errorf("host %q is neither a name nor an IP address", host)
	}
	if net.JoinHostPort(host, port) != s {
		return fmt.Errorf("%q is not host:port", s)
	}
	return nil
}
