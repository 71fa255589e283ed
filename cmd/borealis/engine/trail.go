package engine

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"

	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
)

// VerifyStore checks the audit trail in an open database against its own checkpoints, those of its
// data root, and files with more. The engine's identity has to vouch for them.
func VerifyStore(ctx context.Context, s *store.Store, root Root, files []string, identity ed25519.PublicKey) (audit.Report, error) {
	kept, err := s.Checkpoints(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	files = append([]string{root.Checkpoints()}, files...)
	known, _ := readCheckpoints(files) // what cannot be read is in the report
	return audit.VerifyStore(ctx, s, files, audit.Options{Vouched: VouchedBy(identity, slices.Concat(kept, known))})
}

// VerifyExport checks an export of JSON lines against files with checkpoints, without a data root;
// a nil identity stands for any engine's.
func VerifyExport(ctx context.Context, path string, files []string, identity ed25519.PublicKey) (audit.Report, error) {
	in, err := os.Open(path)
	if err != nil {
		return audit.Report{}, fmt.Errorf("open the export: %w", err)
	}
	defer in.Close()
	source, err := audit.ReadExport(in)
	if err != nil {
		return audit.Report{}, fmt.Errorf("read the export: %w", err)
	}
	known, err := readCheckpoints(files)
	if err != nil {
		return audit.Report{}, err
	}
	o := audit.Options{Checkpoints: known}
	if identity != nil {
		o.Vouched, o.Engine = VouchedBy(identity, known), keys.PinOf(identity).String()
	}
	return audit.Verify(ctx, source, o)
}

// readCheckpoints reads checkpoint files; with an error, those before the damage.
func readCheckpoints(files []string) ([]store.Checkpoint, error) {
	var all []store.Checkpoint
	for _, path := range files {
		in, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // the report says so
		}
		if err != nil {
			return all, fmt.Errorf("open the checkpoints: %w", err)
		}
		found, err := audit.ReadCheckpoints(in)
		in.Close()
		all = append(all, found...)
		if err != nil {
			return all, fmt.Errorf("read the checkpoints in %s: %w; somebody changed the file, or the disk did", path, err)
		}
	}
	return all, nil
}

// VouchedBy tells whether a key is the audit key of the engine with an identity. A key that it
// has vouched for in one checkpoint is its key in all of them: what was signed before
// the identity was rotated carries the word of the one before.
func VouchedBy(identity ed25519.PublicKey, known []store.Checkpoint) func(ed25519.PublicKey, []byte) error {
	trusted := make(map[string]bool)
	for _, c := range known {
		if (keys.SignedKey{Public: c.Key, Signature: c.Vouch}).Check(identity) == nil {
			trusted[string(c.Key)] = true
		}
	}
	return func(key ed25519.PublicKey, vouch []byte) error {
		if trusted[string(key)] {
			return nil
		}
		return keys.SignedKey{Public: key, Signature: vouch}.Check(identity)
	}
}
