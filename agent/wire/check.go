package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"borealis/tunnel/keys"
)

// Longest strings in messages, in bytes.
const (
	maxID       = 128
	maxName     = 256
	maxSentence = 1024
	maxToken    = 8 << 10 // Also of a signed policy.
)

// Other limits of messages.
const (
	maxDepth     = 8       // Of nested JSON.
	maxTokenKeys = 8       // In one message: the one that signs, those before it, and room.
	maxRenewal   = 60 * 60 // Seconds in one renewal.
	keySize      = 32      // Bytes of a WireGuard key or preshared key.
	maxYear      = 9999    // RFC 3339 ends there.
)

// encode marshals v if check accepts it.
func encode(v any, check func() error) ([]byte, error) {
	if err := check(); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("encode message: %d bytes, more than %d", len(b), MaxMessage)
	}
	return b, nil
}

// decode unmarshals exactly one JSON value in UTF-8, without members that are
// unknown, doubled, null or in capitals, all of which encoding/json forgives.
func decode(b []byte, into any) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("decode message: more than %d bytes", MaxMessage)
	}
	if !utf8.Valid(b) {
		return errors.New("decode message: not UTF-8")
	}
	if err := exact(b); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// exact walks one JSON value and what follows it.
func exact(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := exactValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// exactValue walks one value.
func exactValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == nil {
		return errors.New("null")
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return errors.New("nested too deeply")
	}
	seen := make(map[string]bool)
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			s, ok := name.(string)
			if !ok || seen[s] || !lower(s) {
				return errors.New("member doubled or not in lower case")
			}
			seen[s] = true
		}
		if err := exactValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // The closing one.
	return err
}

// lower reports whether s is a member's name as we write them.
func lower(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}

// checks collects the first thing that is wrong with a message.
type checks struct{ err error }

func (c *checks) fail(name, what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s: %s", name, what)
	}
}

// text wants at most limit bytes of UTF-8 that a terminal or page shows as they are.
func (c *checks) text(name, s string, limit int) {
	if len(s) > limit {
		c.fail(name, "too long")
	}
	if !utf8.ValidString(s) {
		c.fail(name, "not UTF-8")
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			c.fail(name, "control character")
			return
		}
	}
}

// id wants something short in visible ASCII.
func (c *checks) id(name, s string) {
	if s == "" || len(s) > maxID {
		c.fail(name, "empty or too long")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			c.fail(name, "not an id")
			return
		}
	}
}

// word wants a lower-case identifier.
func (c *checks) word(name, s string) {
	if len(s) > maxID || !lower(s) {
		c.fail(name, "not a word")
	}
}

// token wants the outside of a token; what is inside, package token checks.
func (c *checks) token(name, s string) {
	if s == "" || len(s) > maxToken {
		c.fail(name, "empty or too long")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			c.fail(name, "not a token")
			return
		}
	}
}

// key wants 32 bytes, not all zero, in base64.
func (c *checks) key(name, s string) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != keySize || base64.StdEncoding.EncodeToString(b) != s {
		c.fail(name, "not a key")
		return
	}
	if bytes.Equal(b, make([]byte, keySize)) {
		c.fail(name, "zero key")
	}
}

// one wants exactly one of the members set.
func (c *checks) one(set ...bool) {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	if n != 1 {
		c.fail("message", fmt.Sprintf("%d members set, not 1", n))
	}
}

func (m FromEngine) check() error {
	var c checks
	c.one(m.Welcome != nil, m.Start != nil, m.Admit != nil, m.Stop != nil, m.Renew != nil, m.Policy != nil,
		m.Keys != nil, m.State != nil, m.Update != nil)
	switch {
	case m.Welcome != nil:
		c.welcome(m.Welcome)
	case m.Start != nil:
		c.id("tunnel", m.Start.Tunnel)
		c.token("token", m.Start.Token)
		c.key("preshared_key", m.Start.PresharedKey)
	case m.Admit != nil:
		c.id("tunnel", m.Admit.Tunnel)
	case m.Stop != nil:
		c.id("tunnel", m.Stop.Tunnel)
		c.word("reason", m.Stop.Reason)
	case m.Renew != nil:
		c.id("tunnel", m.Renew.Tunnel)
		if m.Renew.Seconds < 1 || m.Renew.Seconds > maxRenewal {
			c.fail("seconds", "out of range")
		}
	case m.Policy != nil:
		c.id("tunnel", m.Policy.Tunnel)
		c.token("policy", m.Policy.Policy)
	case m.Keys != nil:
		if len(m.Keys.TokenKeys) == 0 {
			c.fail("token_keys", "none")
		}
		c.tokenKeys(m.Keys.TokenKeys)
	case m.State != nil:
		c.word("state", m.State.State)
	case m.Update != nil:
		c.token("manifest", m.Update.Manifest)
	}
	return c.err
}

func (c *checks) welcome(w *Welcome) {
	c.id("device_id", w.DeviceID)
	c.word("state", w.State)
	if y := w.ServerTime.UTC().Year(); y < 2000 || y >= maxYear {
		c.fail("server_time", "out of range")
	}
	c.tokenKeys(w.TokenKeys)
	if n := w.NextIdentity; n != nil && (len(n.Public) > maxID || len(n.Signature) > maxID) {
		c.fail("next_identity", "too long")
	}
	if w.Driver != nil {
		c.file("driver", w.Driver)
	}
	if w.Protocol < 0 {
		c.fail("protocol", "negative")
	}
	c.atMost("addresses", len(w.Addresses), MaxAddresses)
	for _, a := range w.Addresses {
		if err := CheckAddress(a); err != nil {
			c.fail("addresses", err.Error())
		}
	}
}

// tokenKeys bounds token keys; whether they are genuine, [keys.TokenKey.Check] says.
func (c *checks) tokenKeys(all []keys.TokenKey) {
	if len(all) > maxTokenKeys {
		c.fail("token_keys", "too many")
	}
	for _, k := range all {
		c.id("token_keys", k.ID)
		if len(k.Public) > maxID || len(k.Signature) > maxID {
			c.fail("token_keys", "too long")
		}
	}
}

func (m FromAgent) check() error {
	var c checks
	c.one(m.Hello != nil, m.Ready != nil, m.Refused != nil, m.Stopped != nil, m.Applied != nil,
		m.Inventory != nil, m.Updated != nil)
	switch {
	case m.Hello != nil:
		c.hello(m.Hello)
	case m.Ready != nil:
		c.id("tunnel", m.Ready.Tunnel)
		c.token("token", m.Ready.Token)
		c.key("wireguard_key", m.Ready.WireGuardKey)
	case m.Refused != nil:
		c.id("tunnel", m.Refused.Tunnel)
		switch m.Refused.Reason {
		case Busy, TokenRejected, StartFailed, LocalPolicy:
		default:
			c.fail("reason", "not a known one")
		}
		c.text("detail", m.Refused.Detail, maxSentence)
	case m.Stopped != nil:
		c.id("tunnel", m.Stopped.Tunnel)
		c.word("reason", m.Stopped.Reason)
		c.text("detail", m.Stopped.Detail, maxSentence)
	case m.Applied != nil:
		c.id("tunnel", m.Applied.Tunnel)
		if m.Applied.Revision < 1 {
			c.fail("revision", "out of range")
		}
	case m.Inventory != nil:
		c.inventory(m.Inventory)
	case m.Updated != nil:
		c.updated(m.Updated)
	}
	return c.err
}

func (c *checks) hello(h *Hello) {
	c.id("nonce", h.Nonce)
	c.text("version", h.Version, maxName)
	c.text("hostname", h.Hostname, maxName)
	c.text("os", h.OS, maxName)
	c.text("os_version", h.OSVersion, maxName)
	c.text("arch", h.Arch, maxName)
	c.text("link", h.Link, maxName)
	c.text("dialled", h.Dialled, maxName)
	if h.Tunnel != "" {
		c.id("tunnel", h.Tunnel)
	}
	c.text("machine", h.Machine, maxName)
	if h.Protocol < 0 {
		c.fail("protocol", "negative")
	}
}
