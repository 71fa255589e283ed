package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"borealis/tunnel/keys/seal"
)

// ErrNotEnrolled is returned when an agent knows no engine yet.
var ErrNotEnrolled = errors.New("not enrolled with an engine")

// Files of an agent.
const (
	engineFile = "engine.json" // What it knows of its engine.
	agentKey   = "identity.key"
	agentCert  = "identity.crt"

	runningFile = "running.lock" // Locked by the process that runs as the agent.
)

// To look whether an agent runs takes its lock for a moment; who wants to run tries again.
const (
	lookTries = 10
	lookPause = 10 * time.Millisecond
)

// enrolAnew is what to do when an agent's keys are lost.
const enrolAnew = "enrol this device again, with a new code and --replace"

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
	for _, name := range []string{agentKey, agentCert} {
		if there, err := exists(filepath.Join(dir, name)); err == nil && !there {
			return nil, fmt.Errorf("open agent keys: the engine is known but %s is missing: %s", filepath.Join(dir, name), enrolAnew)
		}
	}
	identity, err := OpenAgentIdentity(dir, "")
	if err != nil {
		return nil, err
	}
	return &Agent{Identity: identity, Engine: r.Engine, Next: r.Next, Address: r.Address}, nil
}

// OpenAgentIdentity loads the agent's identity from dir, or makes it with the
// given name when it is absent. It does not need an enrolled agent. The directory is made
// with mode 0700 and the files with 0600; several processes may open the same identity at
// once and get the same one. On Windows the key is sealed under one that only this machine
// can open, and a key that an earlier version left plain is sealed now. One file without
// the other, a damaged file or a key that others may read is an error, and nothing is
// written.
func OpenAgentIdentity(dir, name string) (*Identity, error) {
	box, err := openAgentBox(dir)
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	identity, err := openIdentity(certPair{dir: dir, key: agentKey, cert: agentCert, box: box}, name)
	switch {
	case errors.Is(err, seal.ErrWrongKey) || errors.Is(err, seal.ErrDamaged):
		return nil, fmt.Errorf("open identity: %s is damaged, or of another device: %s", filepath.Join(dir, agentKey), enrolAnew)
	case err != nil || box == nil:
		return identity, err
	}
	if err := sealInPlace(dir, agentKey, box); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	return identity, nil
}

// CheckAgentDir makes the directory of an agent's keys, when it is absent, and says whether
// there is room in it for them and they may be written.
func CheckAgentDir(dir string) error {
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("check agent keys: %w", err)
	}
	defer unlock()
	probe := filepath.Join(dir, "probe")
	if err := errors.Join(writeFile(probe, make([]byte, 16<<10)), os.Remove(probe)); err != nil {
		return fmt.Errorf("check agent keys: %w", err)
	}
	return nil
}

// SaveAgent records the engine that the agent in dir belongs to from now on,
// with its address host:port. The record is replaced whole or not at all; further addresses
// that were kept before count no more.
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
	if err := forgetAddresses(dir); err != nil {
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
		return engineRecord{}, fmt.Errorf("%s is damaged: %s", path, enrolAnew)
	}
	if err := r.check(); err != nil {
		return engineRecord{}, fmt.Errorf("%s is damaged: %w: %s", path, err, enrolAnew)
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
	return checkAddress(r.Address)
}

// ErrInUse means that another process runs as the agent whose keys are asked for.
var ErrInUse = errors.New("another agent runs with these keys")

// UseAgent keeps every other process from running as the agent whose keys are in dir: two
// with one identity would be taken for a theft of it. The error is [ErrInUse] when there
// is one. The caller calls release when the agent has stopped; the end of the process
// releases too.
func UseAgent(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, runningFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("use agent keys: %w", err)
	}
	ours, err := tryLock(f, false)
	for try := 1; try < lookTries && err == nil && !ours; try++ { // Perhaps somebody only looks.
		<-time.After(lookPause)
		ours, err = tryLock(f, false)
	}
	if err == nil && !ours {
		err = ErrInUse
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("use agent keys in %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// AgentInUse reports whether a process runs as the agent whose keys are in dir.
func AgentInUse(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, runningFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether the agent runs: %w", err)
	}
	defer f.Close()
	free, err := tryLock(f, true)
	if err != nil {
		return false, fmt.Errorf("look whether the agent runs: %w", err)
	}
	return !free, nil
}
