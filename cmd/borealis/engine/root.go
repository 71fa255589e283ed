package engine

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"borealis/cmd/hint"
	"borealis/store"
	"borealis/tunnel/keys"
)

// AddressSetting is where a serving engine leaves the address that agents dial, for
// the commands that make enrolment codes.
const AddressSetting = "agent_address"

// A Root is the folder of an engine's data, and knows where things are in it.
type Root string

// Database is the path of the database.
func (d Root) Database() string { return filepath.Join(string(d), "Engine", "borealis.db") }

// Certificates is the folder of keys and certificates.
func (d Root) Certificates() string { return filepath.Join(string(d), "Engine", "Certificates") }

// Identity is the path of the certificate with the engine's public identity.
func (d Root) Identity() string { return filepath.Join(d.Certificates(), "identity.crt") }

// Log is the path of the engine's log.
func (d Root) Log() string {
	return filepath.Join(string(d), "Engine", "Logs", "reverse_tunnel.log")
}

// Checkpoints is the path of the signed checkpoints of the audit trail.
func (d Root) Checkpoints() string {
	return filepath.Join(string(d), "Engine", "Logs", "audit_checkpoints.jsonl")
}

// Made says what is wrong when there is no engine in the data root.
func (d Root) Made() error {
	if _, err := os.Stat(d.Database()); err != nil {
		return &hint.Error{
			Err:  fmt.Errorf("open the data root %s: %w", string(d), err),
			Hint: fmt.Sprintf("make it with \"borealis init --data %s\", or name another one with --data", string(d)),
		}
	}
	return nil
}

// OpenStore opens the database of a data root that was made before. The caller
// closes it. What can be done about an error is a [hint.Error].
func (d Root) OpenStore(ctx context.Context) (*store.Store, error) {
	if err := d.Made(); err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, d.Database())
	return s, d.restorable(err)
}

// With opens the store of a data root for one command, and closes it.
func (d Root) With(ctx context.Context, do func(*store.Store) error) (err error) {
	s, err := d.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(s)
}

// Pin reads the pin of the engine's identity, which takes no key.
func (d Root) Pin() (keys.Pin, error) {
	public, err := ReadIdentity(d.Identity())
	if err != nil {
		return keys.Pin{}, err
	}
	return keys.PinOf(public), nil
}

// ReadIdentity reads the public key in an engine's certificate; nil without a file.
func ReadIdentity(path string) (ed25519.PublicKey, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the engine's identity: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("read the engine's identity: %s is not a certificate", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the engine's identity in %s: %w", path, err)
	}
	public, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("read the engine's identity: %s holds another kind of key", path)
	}
	return public, nil
}
