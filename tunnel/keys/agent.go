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
	"strconv"
)

// ErrNotEnrolled is returned when an agent knows no engine yet.
var ErrNotEnrolled = errors.New("not enrolled with an engine")

// engineFile holds what an agent knows of its engine.
const engineFile = "engine.json"

// Agent holds an agent's identity and the engine that it belongs to.
type Agent struct {
	Identity *Identity
	Engine   Pin    // The engine's identity; nobody else is spoken to,
	Next     Pin    // but the identity that the engine announced to follow it; zero when it did not.
	Address  string // host:port of the engine.
}

// engineRecord is the content of engineFile.
type engineRecord struct {
	Engine  Pin    `json:"engine"`
	Next    Pin    `json:"next,omitzero"`
	Address string `json:"address"`
}

// OpenAgent loads an enrolled agent's keys from dir. The error is
// [ErrNotEnrolled] when the agent knows no engine yet, and then nothing is made.
func OpenAgent(dir string) (*Agent, error) {
	r, err := readRecord(dir)
	if errors.Is(err, ErrNotEnrolled) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open agent keys: %w", err)
	}
	pair := certPair{dir: dir, key: "identity.key", cert: "identity.crt"}
	if _, _, err := pair.load(); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open agent keys: the engine is known but the identity is not: %w: enrol the agent again", err)
	}
	identity, err := OpenAgentIdentity(dir, "")
	if err != nil {
		return nil, err
	}
	return &Agent{Identity: identity, Engine: r.Engine, Next: r.Next, Address: r.Address}, nil
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
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	defer unlock()
	if err := r.write(dir); err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	return nil
}

// SavePins records who the engine of the enrolled agent in dir is, and who it is going
// to be; that is zero when it is not known. The record is replaced whole or not at all.
func SavePins(dir string, engine, next Pin) error {
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("save pins: %w", err)
	}
	defer unlock()
	r, err := readRecord(dir)
	if err != nil {
		return fmt.Errorf("save pins: %w", err)
	}
	r.Engine, r.Next = engine, next
	if err := r.write(dir); err != nil {
		return fmt.Errorf("save pins: %w", err)
	}
	return nil
}

// readRecord reads what the agent in dir knows of its engine, or returns [ErrNotEnrolled].
func readRecord(dir string) (engineRecord, error) {
	path := filepath.Join(dir, engineFile)
	b, _, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return engineRecord{}, ErrNotEnrolled
	}
	if err != nil {
		return engineRecord{}, err
	}
	var r engineRecord
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() {
		return engineRecord{}, fmt.Errorf("%s is damaged: enrol the agent again", path)
	}
	if err := r.check(); err != nil {
		return engineRecord{}, fmt.Errorf("%s is damaged: %w: enrol the agent again", path, err)
	}
	return r, nil
}

// write replaces the record in dir. The caller has the directory's lock.
func (r engineRecord) write(dir string) error {
	if err := r.check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, engineFile), append(b, '\n'))
}

// check says what is wrong with a record.
func (r engineRecord) check() error {
	if r.Engine.IsZero() {
		return errors.New("no pin of the engine")
	}
	if r.Next == r.Engine {
		return errors.New("the same pin twice")
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

// ErrInUse means that another process runs as the agent whose keys are asked for.
var ErrInUse = errors.New("another agent runs with these keys")

// UseAgent keeps every other process from running as the agent whose keys are in dir: two
// with one identity would be taken for a theft of it. The error is [ErrInUse] when there
// is one. The caller calls release when the agent has stopped; the end of the process
// releases too.
func UseAgent(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "running.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("use agent keys: %w", err)
	}
	ours, err := tryLock(f)
	if err == nil && !ours {
		err = ErrInUse
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("use agent keys in %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
