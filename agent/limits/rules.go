package limits

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"borealis/tunnel/token"
)

// Limits of a policy file.
const (
	maxFile  = 64 << 10 // Bytes.
	maxPorts = 256      // Ranges that are never allowed.
	maxHours = 32       // Windows.
)

// What shell_as may say.
const (
	asUser   = "user"
	asSystem = "system"
)

// rules are the content of a policy file.
type rules struct {
	NeverPorts []string `json:"never_ports"`
	NoTerminal bool     `json:"no_terminal"`
	Hours      []window `json:"hours"`
	NoUpdates  bool     `json:"no_updates"`
	ShellAs    string   `json:"shell_as"`

	never []token.Port // NeverPorts, understood.
	week  *week        // Hours, understood; nil is always.
}

// read reads the rules in a file. One that is absent has none.
func read(path string) (rules, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rules{}, nil
	}
	if err != nil {
		return rules{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return rules{}, err
	}
	r, err := parse(b)
	if err != nil {
		return rules{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// parse understands the content of a policy file, or says what in it nobody can mean.
func parse(b []byte) (rules, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // Editors of Windows write one.
	if len(b) > maxFile {
		return rules{}, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	var r rules
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return rules{}, fmt.Errorf("it cannot be understood: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return rules{}, errors.New("something follows the policy")
	}
	if err := exact(json.NewDecoder(bytes.NewReader(b))); err != nil {
		return rules{}, err
	}
	if r.ShellAs != "" && r.ShellAs != asUser && r.ShellAs != asSystem {
		return rules{}, fmt.Errorf("shell_as is %q: it can be %q or %q", r.ShellAs, asUser, asSystem)
	}
	if len(r.NeverPorts) > maxPorts {
		return rules{}, fmt.Errorf("never_ports has more than %d entries", maxPorts)
	}
	for _, text := range r.NeverPorts {
		port, err := parsePort(text)
		if err != nil {
			return rules{}, err
		}
		r.never = append(r.never, port)
	}
	var err error
	r.week, err = newWeek(r.Hours)
	return r, err
}

// exact refuses what package json forgives, and what could make a policy say less than its
// writer meant: a member that is there twice, one with another capital, and null.
func exact(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == nil {
		return errors.New("null says nothing: leave the member out")
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := make(map[string]bool)
	for d.More() {
		if delim == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if seen[name] || name != strings.ToLower(name) {
				return fmt.Errorf("%q is there twice, or not in lower case", name)
			}
			seen[name] = true
		}
		if err := exact(d); err != nil {
			return err
		}
	}
	_, err = d.Token() // The closing one.
	return err
}

// parsePort reads "3389/tcp" or "5900-5910/tcp".
func parsePort(text string) (token.Port, error) {
	bad := fmt.Errorf("never_ports has %q: write a port or a range and its protocol, as in 3389/tcp or 5900-5910/tcp", text)
	span, protocol, _ := strings.Cut(text, "/")
	if protocol != "tcp" && protocol != "udp" {
		return token.Port{}, bad
	}
	first, last, ranged := strings.Cut(span, "-")
	if !ranged {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil || from == 0 {
		return token.Port{}, bad
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil || to < from {
		return token.Port{}, bad
	}
	return token.Port{Protocol: protocol, From: uint16(from), To: uint16(to)}, nil
}

// subtract returns ports without those in never.
func subtract(ports, never []token.Port) []token.Port {
	left := ports
	for _, n := range never {
		var rest []token.Port
		for _, p := range left {
			if p.Protocol != n.Protocol || p.To < n.From || n.To < p.From {
				rest = append(rest, p)
				continue
			}
			if p.From < n.From {
				rest = append(rest, token.Port{Protocol: p.Protocol, From: p.From, To: n.From - 1})
			}
			if n.To < p.To {
				rest = append(rest, token.Port{Protocol: p.Protocol, From: n.To + 1, To: p.To})
			}
		}
		left = rest
	}
	return left
}
