package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// addressesFile is where an agent keeps further addresses of its engine, beside its keys.
const addressesFile = "addresses.json"

// maxAnnounced is how many addresses of an engine are kept that it announced.
const maxAnnounced = 3

// Addresses are where an agent's engine may be found besides the address that the agent was
// enrolled at. They say nothing about who answers there: the pin does.
type Addresses struct {
	Moved     string   `json:"moved,omitempty"`     // host:port that somebody at the device gave, or "". It comes first.
	Announced []string `json:"announced,omitempty"` // host:port each, that the engine announced, at most three.
}

// ReadAddresses returns the further addresses that the agent in dir has kept; none when it never
// kept any.
func ReadAddresses(dir string) (Addresses, error) {
	path := filepath.Join(dir, addressesFile)
	b, _, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Addresses{}, nil
	}
	if err != nil {
		return Addresses{}, fmt.Errorf("read addresses: %w", err)
	}
	var a Addresses
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil || d.More() {
		return Addresses{}, fmt.Errorf("read addresses: %s is damaged: delete it", path)
	}
	if err := a.check(); err != nil {
		return Addresses{}, fmt.Errorf("read addresses: %s is damaged: %w: delete it", path, err)
	}
	return a, nil
}

// SaveMoved keeps the address at which the engine of the agent in dir is to be found first; ""
// for none. The file is replaced whole or not at all.
func SaveMoved(dir, address string) error {
	return changeAddresses(dir, func(a *Addresses) { a.Moved = address })
}

// SaveAnnounced keeps the addresses that the engine of the agent in dir announced, in place of
// those before. The file is replaced whole or not at all.
func SaveAnnounced(dir string, addresses []string) error {
	return changeAddresses(dir, func(a *Addresses) { a.Announced = slices.Clone(addresses) })
}

// changeAddresses changes what is kept. What is damaged is given up.
func changeAddresses(dir string, change func(*Addresses)) error {
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	defer unlock()
	a, err := ReadAddresses(dir)
	if err != nil {
		a = Addresses{}
	}
	change(&a)
	if err := a.check(); err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	b, err := json.MarshalIndent(a, "", "\t")
	if err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	if err := writeFile(filepath.Join(dir, addressesFile), append(b, '\n')); err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	return nil
}

// forgetAddresses takes away what is kept: it was of another enrolment. The caller has the
// directory's lock.
func forgetAddresses(dir string) error {
	if err := os.Remove(filepath.Join(dir, addressesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// check says what is wrong with addresses.
func (a Addresses) check() error {
	if len(a.Announced) > maxAnnounced {
		return fmt.Errorf("%d announced addresses: %d are the most", len(a.Announced), maxAnnounced)
	}
	all := a.Announced
	if a.Moved != "" {
		all = append([]string{a.Moved}, all...)
	}
	for _, one := range all {
		if err := checkAddress(one); err != nil {
			return err
		}
	}
	return nil
}

// checkAddress says what is wrong with a host:port.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Errorf("address %q is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q has no port", address)
	}
	return nil
}
