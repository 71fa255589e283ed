package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/store/audit"
)

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
	root := engine.Root(*data)
	if *identity == "" && *export == "" {
		*identity = root.Identity()
	}
	known, err := engine.ReadIdentity(*identity)
	if err != nil {
		return err
	}
	var report audit.Report
	if *export != "" {
		report, err = engine.VerifyExport(ctx, *export, files, known)
	} else {
		report, err = verifyRoot(ctx, root, files, known)
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
		err = &hint.Error{Err: errors.New("the audit trail is not as it was written"), Hint: "keep the database and the checkpoint files as they are, and compare them with a backup and with what the log server has"}
	}
	return err
}

// verifyRoot checks the trail of a data root against its own checkpoints and files.
func verifyRoot(ctx context.Context, root engine.Root, files []string, identity ed25519.PublicKey) (report audit.Report, err error) {
	err = root.With(ctx, func(s *store.Store) error {
		report, err = engine.VerifyStore(ctx, s, root, files, identity)
		return err
	})
	return report, err
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
		return hint.Usage(fmt.Sprintf("--format %q: use jsonl or csv", *format))
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
	root := engine.Root(*data)
	pin, err := root.Pin()
	if err != nil {
		return err
	}
	return root.With(ctx, func(s *store.Store) error {
		did := engine.LocalRecord()
		did.At, did.Kind, did.Detail = time.Now(), "audit_exported", *format
		if err := s.AddRecord(ctx, did); err != nil {
			return err
		}
		return audit.Export(ctx, s, to, audit.Format(*format), audit.Selection{
			Query: store.RecordQuery{Scope: store.Scope{All: true}}, Engine: pin.String(),
		})
	})
}
