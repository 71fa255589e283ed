package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
)

// ErrNotEnrolled is returned when an agent knows no engine yet.
var ErrNotEnrolled = errors.New("not enrolled with an engine")

// engineFile holds what an agent knows of its engine.
const engineFile = "engine.json"

// Agent holds an agent's identity and the engine that it belongs to.
type Agent struct {
	Identity *Identity
	Engine   Pin    // The engine's identity; nobody else is spoken to.
	Address  string // host:port of the engine.
}

// engineRecord is the content of engineFile.
type engineRecord struct {
	Engine  Pin    `json:"engine"`
	Address string `json:"address"`
}

// OpenAgent loads an enrolled agent's keys from dir. The error is
// [ErrNotEnrolled] when the agent knows no engine yet, and then nothing is made.
func OpenAgent(dir string) (*Agent, error) {
	path := filepath.Join(dir, engineFile)
	b, _, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotEnrolled
	}
	if err != nil {
		return nil, fmt.Errorf("open agent keys: %w", err)
	}
	var r engineRecord
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() {
		return nil, fmt.Errorf("open agent keys: %s is damaged: enrol the agent again", path)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("open agent keys: %s is damaged: %w: enrol the agent again", path, err)
	}
	pair := certPair{dir: dir, key: "identity.key", cert: "identity.crt"}
	if _, _, err := pair.load(); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open agent keys: the engine is known but the identity is not: %w: enrol the agent again", err)
	}
	identity, err := OpenAgentIdentity(dir, "")
	if err != nil {
		return nil, err
	}
	return &Agent{Identity: identity, Engine: r.Engine, Address: r.Address}, nil
}

// OpenAgentIdentity loads the agent's identity from dir, or makes it with the
// given name when it is absent. It does not need an enrolled agent.
func OpenAgentIdentity(dir, name string) (*Identity, error) {
	return OpenIdentity(dir, "identity", name)
}

// SaveAgent records the engine that the agent in dir belongs to from now on,
// with its address host:port. The record is replaced whole or not at all.
func SaveAgent(dir string, engine Pin, address string) error {
	r := engineRecord{Engine: engine, Address: address}
	if err := r.check(); err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	defer unlock()
	if err := writeFile(filepath.Join(dir, engineFile), append(b, '\n')); err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	return nil
}

// check says what is wrong with a record.
func (r engineRecord) check() error {
	if r.Engine.IsZero() {
		return errors.New("no pin of the engine")
	}
	host, port, err := net.SplitHostPort(r.Address)
	if err != nil || host == "" {
		return fmt.Errorf("address %q is not host:port", r.Address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q has no port", r.Address)
	}
	return nil
}
