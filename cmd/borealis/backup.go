package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/store/backup"
)

// kindBackupMade is on record for each backup: a copy of everything has left the engine.
const kindBackupMade = "backup_made"

// recipientHint tells how to get what a backup is encrypted to.
const recipientHint = "name who can open it with --recipient age1…; \"borealis backup new-key FILE\" or age-keygen makes such a pair: keep FILE away from this host"

// backupDone is what "backup" says with --json.
type backupDone struct {
	File    string    `json:"file"`
	SHA256  string    `json:"sha256"`
	Size    int64     `json:"size"`
	Seconds float64   `json:"seconds"`
	MadeAt  time.Time `json:"made_at"`
	Engine  string    `json:"engine"`
	Seq     int64     `json:"audit_seq"`
	Removed []string  `json:"removed"`
}

// backup makes a backup, whether or not an engine runs.
func (c *console) backup(ctx context.Context, args []string) error {
	f := c.flags("backup", "writes database, keys and checkpoints to one encrypted file, also while the engine runs. FILE may be a folder, and is then named by the time. Not in it: the key that unseals the engine's keys, logs, drivers")
	data := dataFlag(f)
	var to words
	f.Var(&to, "recipient", "age `RECIPIENT` that can open it, age1…; may be given more than once")
	toFile := f.String("recipients-file", "", "`FILE` with a recipient in each line")
	keep := f.String("keep", "", "in a folder, remove older backups of this engine but `N`, or HOURS/DAYS/WEEKS such as 24/14/8")
	despite := f.Bool("despite-audit", false, "make it even though the audit trail is not as it was written")
	asJSON := f.Bool("json", false, "print one JSON object")
	names, err := c.parse(f, args, "FILE")
	if err != nil {
		return err
	}
	recipients, err := readRecipients(to, *toFile)
	if err != nil {
		return err
	}
	var policy backup.Keep
	if *keep != "" {
		if policy, err = backup.ParseKeep(*keep); err != nil {
			return hint.Usage(fmt.Sprintf("--keep %v", err))
		}
	}
	root := engine.Root(*data)
	var result backupDone
	err = root.With(ctx, func(s *store.Store) error {
		result, err = makeBackup(ctx, s, root, names[0], recipients, policy, *despite)
		return err
	})
	if err != nil {
		return backupHint(err)
	}
	if *asJSON {
		return c.printJSON(result)
	}
	return c.tellBackup(result)
}

// makeBackup makes a backup at a path, and removes older ones when that is a folder.
func makeBackup(ctx context.Context, s *store.Store, root engine.Root, path string, to []age.Recipient, keep backup.Keep, despite bool) (backupDone, error) {
	pin, err := root.Pin()
	if err != nil {
		return backupDone{}, err
	}
	folder := ""
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		folder, path = path, filepath.Join(path, backup.Name(pin.String(), time.Now()))
	}
	if keep != (backup.Keep{}) && folder == "" {
		return backupDone{}, hint.Usage("--keep goes with a folder, not with the name of a file")
	}
	m, err := backup.Make(ctx, backup.Config{
		Store: s, Root: string(root), Version: engine.Version(), Engine: pin.String(), Recipients: to, Trust: trustIdentity, Despite: despite,
		Record: func(ctx context.Context, m backup.Made) error { return recordBackup(ctx, s, m, len(to)) },
	}, path)
	if err != nil {
		recordFailed(ctx, s, path, err)
		return backupDone{}, err
	}
	done := backupDone{
		File: m.Path, SHA256: m.SHA256, Size: m.Size, Seconds: m.Took.Seconds(),
		MadeAt: m.Manifest.MadeAt, Engine: m.Manifest.Engine, Seq: m.Manifest.Seq, Removed: []string{},
	}
	if folder != "" {
		gone, err := backup.Prune(folder, pin.String(), keep)
		done.Removed = append(done.Removed, gone...)
		return done, err
	}
	return done, nil
}

// recordBackup puts a backup on record.
func recordBackup(ctx context.Context, s *store.Store, m backup.Made, recipients int) error {
	did := engine.LocalRecord()
	did.Kind, did.Target = kindBackupMade, filepath.Base(m.Path)
	did.Detail = fmt.Sprintf("SHA-256 %s, %d bytes, up to record %d, recipients: %d", m.SHA256, m.Size, m.Manifest.Seq, recipients)
	return s.AddRecord(ctx, did)
}

// recordFailed puts on record, if that is possible, that a backup was not made.
func recordFailed(ctx context.Context, s *store.Store, path string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	did := engine.LocalRecord()
	did.Kind, did.Target, did.Result, did.Reason = kindBackupMade, filepath.Base(path), store.Failed, cause.Error()
	_ = s.AddRecord(ctx, did) // the command says why it failed
}

// backupHint adds what to do to what can be wrong with a backup.
func backupHint(err error) error {
	switch {
	case isTrail(err):
		return &hint.Error{Err: err, Hint: "see \"borealis audit verify\"; --despite-audit makes the backup all the same"}
	case errors.Is(err, store.ErrFull) || isNoRoom(err):
		return &hint.Error{Err: err, Hint: "free some space, or back up to another disk; the copy that is encrypted needs the size of the database beside it"}
	}
	return err
}

func isTrail(err error) bool {
	_, ok := errors.AsType[*backup.TrailError](err)
	return ok
}

func isNoRoom(err error) bool {
	_, ok := errors.AsType[*backup.NoRoomError](err)
	return ok
}

func (c *console) tellBackup(d backupDone) error {
	if _, err := fmt.Fprintln(c.stdout, d.File); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "sha256  %s\nsize    %d bytes\ntime    %.1f s\n", d.SHA256, d.Size, d.Seconds)
	for _, name := range d.Removed {
		fmt.Fprintf(c.stderr, "removed %s\n", name)
	}
	_, err := fmt.Fprintln(c.stderr, "Not in it: the seal key, logs and drivers. Nothing restores the engine without the seal key: keep a copy of it elsewhere.")
	return err
}

// trustIdentity tells whether checkpoints were signed by the engine of a data root.
func trustIdentity(root string, known []store.Checkpoint) (func(ed25519.PublicKey, []byte) error, error) {
	identity, err := engine.ReadIdentity(engine.Root(root).Identity())
	if err != nil {
		return nil, err
	}
	return engine.VouchedBy(identity, known), nil
}

// readRecipients reads whom a backup is for. What is not a recipient is not repeated, for
// it may be an identity, which is a secret.
func readRecipients(names []string, file string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, name := range names {
		one, err := age.ParseRecipients(strings.NewReader(name))
		if err != nil {
			return nil, hint.Usage("--recipient is not an age recipient, which begins with age1; " + recipientHint)
		}
		all = append(all, one...)
	}
	if file != "" {
		in, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the recipients: %w", err)
		}
		defer in.Close()
		more, err := age.ParseRecipients(in)
		if err != nil {
			return nil, hint.Usage(fmt.Sprintf("--recipients-file %s: %v", file, err))
		}
		all = append(all, more...)
	}
	if len(all) == 0 {
		return nil, hint.Usage("nobody could open the backup: " + recipientHint)
	}
	return all, nil
}

// backupNewKey makes the identity that opens backups.
func (c *console) backupNewKey(_ context.Context, args []string) error {
	f := c.flags("backup new-key", "makes the secret that opens backups, and prints the recipient to make them for")
	asJSON := f.Bool("json", false, "print one JSON object")
	names, err := c.parse(f, args, "FILE")
	if err != nil {
		return err
	}
	recipient, err := backup.NewIdentity(names[0])
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			File      string `json:"file"`
			Recipient string `json:"recipient"`
		}{names[0], recipient})
	}
	fmt.Fprintf(c.stderr, "%s opens every backup for the recipient below. Move it away from this host, and keep two copies.\n", names[0])
	_, err = fmt.Fprintln(c.stdout, recipient)
	return err
}
