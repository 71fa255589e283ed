package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
)

func (d dataRoot) checkpoints() string {
	return filepath.Join(string(d), "Engine", "Logs", "audit_checkpoints.jsonl")
}

func (c *console) auditVerify(ctx context.Context, args []string) error {
	f := c.flags("audit verify", "checks the audit trail: every hash, and every signed checkpoint")
	data := dataFlag(f)
	export := f.String("file", "", "verify an export of JSON lines in `FILE` and not a data root")
	identity := f.String("identity", "", "`FILE` with the engine's certificate, identity.crt; empty means the data root's")
	var files words
	f.Var(&files, "checkpoints", "`FILE` with checkpoints that were kept elsewhere; may be given more than once")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	root := dataRoot(*data)
	if *identity == "" && *export == "" {
		*identity = filepath.Join(root.certificates(), "identity.crt")
	}
	engine, err := readIdentity(*identity)
	if err != nil {
		return err
	}
	var report audit.Report
	if *export != "" {
		report, err = verifyExport(ctx, *export, files, engine)
	} else {
		report, err = verifyRoot(ctx, root, files, engine)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		err = c.printJSON(report)
	} else {
		_, err = fmt.Fprintln(c.stdout, report)
	}
	if err == nil && !report.OK() {
		err = &hintError{errors.New("the audit trail is not as it was written"), "keep the database and the checkpoint files as they are, and compare them with a backup and with what the log server has"}
	}
	return err
}

// verifyRoot checks the trail of a data root against its own checkpoints and files.
func verifyRoot(ctx context.Context, root dataRoot, files []string, engine ed25519.PublicKey) (report audit.Report, err error) {
	err = root.with(ctx, func(s *store.Store) error {
		kept, err := s.Checkpoints(ctx)
		if err != nil {
			return err
		}
		files := append([]string{root.checkpoints()}, files...)
		known, _ := readCheckpoints(files) // what cannot be read is in the report
		report, err = audit.VerifyStore(ctx, s, files, audit.Options{Vouched: vouchedBy(engine, slices.Concat(kept, known))})
		return err
	})
	return report, err
}

// verifyExport checks a file, without an engine.
func verifyExport(ctx context.Context, path string, files []string, engine ed25519.PublicKey) (audit.Report, error) {
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
	if engine != nil {
		o.Vouched, o.Engine = vouchedBy(engine, known), keys.PinOf(engine).String()
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

// vouchedBy tells whether a key is the audit key of an engine. A key that its identity
// has vouched for in one checkpoint is its key in all of them: what was signed before
// the identity was rotated carries the word of the one before.
func vouchedBy(engine ed25519.PublicKey, known []store.Checkpoint) func(ed25519.PublicKey, []byte) error {
	trusted := make(map[string]bool)
	for _, c := range known {
		if (keys.SignedKey{Public: c.Key, Signature: c.Vouch}).Check(engine) == nil {
			trusted[string(c.Key)] = true
		}
	}
	return func(key ed25519.PublicKey, vouch []byte) error {
		if trusted[string(key)] {
			return nil
		}
		return keys.SignedKey{Public: key, Signature: vouch}.Check(engine)
	}
}

// readIdentity reads the public key in an engine's certificate; nil without a file.
func readIdentity(path string) (ed25519.PublicKey, error) {
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

func (c *console) auditExport(ctx context.Context, args []string) (err error) {
	f := c.flags("audit export", "writes the audit trail to standard output or a file; the export itself is recorded")
	data := dataFlag(f)
	format := f.String("format", string(audit.JSONLines), "`FORMAT`: jsonl, which can be verified, or csv")
	out := f.String("out", "", "`FILE` to write, which must not exist; empty means standard output")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	if !slices.Contains(audit.Formats(), audit.Format(*format)) {
		return &usageError{fmt.Sprintf("--format %q: use jsonl or csv", *format)}
	}
	to := c.stdout
	if *out != "" {
		file, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("make the export: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		to = file
	}
	root := dataRoot(*data)
	pin, err := root.pin()
	if err != nil {
		return err
	}
	return root.with(ctx, func(s *store.Store) error {
		did := done()
		did.At, did.Kind, did.Detail = time.Now(), "audit_exported", *format
		if err := s.AddRecord(ctx, did); err != nil {
			return err
		}
		return audit.Export(ctx, s, to, audit.Format(*format), audit.Selection{
			Query: store.RecordQuery{Scope: store.Scope{All: true}}, Engine: pin.String(),
		})
	})
}
