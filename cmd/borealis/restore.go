package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/store/backup"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// restoreDone is what "restore" says with --json.
type restoreDone struct {
	Data    string    `json:"data"`
	Aside   string    `json:"aside"` // where what was there is now; empty: nothing was
	SHA256  string    `json:"sha256"`
	MadeAt  time.Time `json:"made_at"`
	Engine  string    `json:"engine"`
	Schema  int       `json:"schema"`
	Seq     int64     `json:"audit_seq"`
	Seconds float64   `json:"seconds"`
	SealKey string    `json:"seal_key"` // where it has to be put; empty: the one given opens the keys
}

// restore makes a data root of a backup.
func (c *console) restore(ctx context.Context, args []string) error {
	f := c.flags("restore", "makes a data root of a backup, after checking all of it. The engine needs the seal key too, which is not in a backup")
	data := dataFlag(f)
	identity := f.String("identity", "", "`FILE` with the age identity that opens the backup")
	replace := f.Bool("replace", false, "move what is in the data root aside, to DIR.before-restore-TIME")
	pin := f.String("engine", "", "take only a backup of the engine with this `PIN`, and with --replace also one of another engine than the present one")
	despite := f.Bool("despite-audit", false, "restore even though the audit trail is not as it was written")
	sealed := sealOptions(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	names, err := c.parse(f, args, "FILE")
	if err != nil {
		return err
	}
	identities, err := readIdentities(*identity)
	if err != nil {
		return err
	}
	root := engine.Root(*data)
	if *replace && used(root) {
		release, err := root.Hold(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	check := restoreCheck{root: root, sealed: *sealed, pin: *pin, replace: *replace}
	r, err := backup.Restore(ctx, backup.RestoreConfig{
		File: names[0], Identities: identities, Root: string(root), Replace: *replace,
		Trust: trustIdentity, Despite: *despite, Check: check.run, Actor: engine.LocalRecord(),
	})
	if err != nil {
		return restoreHint(err, root)
	}
	result := restoreDone{
		Data: r.Root, Aside: r.Aside, SHA256: r.SHA256, MadeAt: r.Manifest.MadeAt, Engine: r.Manifest.Engine,
		Schema: r.Schema, Seq: r.Manifest.Seq, Seconds: r.Took.Seconds(), SealKey: check.missing,
	}
	if *asJSON {
		return c.printJSON(result)
	}
	return c.tellRestore(result)
}

// used reports whether there is anything in the data root.
func used(d engine.Root) bool {
	there, err := os.ReadDir(string(d))
	return err == nil && len(there) > 0
}

// readIdentities reads what opens backups.
func readIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, hint.Usage("--identity is missing: the file with the age identity that the backup was made for")
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	defer in.Close()
	all, err := age.ParseIdentities(in)
	if err != nil {
		return nil, &hint.Error{Err: fmt.Errorf("read the identity in %s: %w", path, err), Hint: "it is the file that age-keygen or \"borealis backup new-key\" made, not the recipient"}
	}
	return all, nil
}

// A restoreCheck looks at a data root that is about to be put in place.
type restoreCheck struct {
	root    engine.Root // where it will be
	sealed  engine.Seal
	pin     string // of the engine that it must be; empty: that of the present one, if there is one
	replace bool
	missing string // where the seal key has to be put
}

// run makes sure that it is the right engine, and that the seal key, if it is here, opens
// the engine's keys.
func (c *restoreCheck) run(_ context.Context, path string, m backup.Manifest) error {
	fresh := engine.Root(path)
	pin, err := fresh.Pin()
	if err != nil {
		return err
	}
	want := c.pin
	if present, err := c.root.Pin(); want == "" && c.replace && err == nil {
		want = present.String()
	}
	if pin.String() != m.Engine || want != "" && want != m.Engine {
		return &hint.Error{
			Err:  fmt.Errorf("the backup is of the engine %s, not of %s", pin, want),
			Hint: "a backup of another engine, or of before \"keys rotate\", is taken with --engine " + pin.String(),
		}
	}
	if err := allSealed(fresh); err != nil {
		return err
	}
	flags := c.sealed
	if flags.PassphraseFile == "" && flags.KeyFile == "" && os.Getenv("CREDENTIALS_DIRECTORY") == "" {
		flags.KeyFile = c.sealed.Path(c.root)
		if _, err := os.Stat(flags.KeyFile); errors.Is(err, fs.ErrNotExist) {
			c.missing = flags.KeyFile
			return nil
		}
	}
	box, err := flags.Open(fresh)
	if err != nil {
		return err
	}
	if _, err := keys.OpenEngine(fresh.Certificates(), nil, box); err != nil {
		return fmt.Errorf("open the engine's keys: %w", err)
	}
	return nil
}

// allSealed refuses keys that are not sealed: nobody but a forger makes such a backup.
func allSealed(root engine.Root) error {
	dir, err := os.OpenRoot(root.Certificates())
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return fs.WalkDir(dir.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".key") {
			return err
		}
		b, err := dir.ReadFile(path)
		if err == nil && !seal.IsSealed(b) {
			err = fmt.Errorf("%s in the backup is not sealed: start the engine that it is of once, and make a new backup", e.Name())
		}
		return err
	})
}

// restoreHint adds what to do to what can be wrong with a restore.
func restoreHint(err error, root engine.Root) error {
	_, newer := errors.AsType[*backup.NewerError](err)
	switch {
	case errors.Is(err, backup.ErrInUse):
		return &hint.Error{Err: err, Hint: "--replace moves it aside to " + filepath.Clean(string(root)) + ".before-restore-TIME; nothing is deleted"}
	case errors.Is(err, backup.ErrIdentity):
		return &hint.Error{Err: err, Hint: "use the identity whose recipient the backup was made for"}
	case newer, errors.Is(err, store.ErrNewer):
		return &hint.Error{Err: err, Hint: "this program is " + engine.Version()}
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, store.ErrDamaged):
		return &hint.Error{Err: err, Hint: "nothing was changed; use another backup"}
	case isTrail(err):
		return &hint.Error{Err: err, Hint: "nothing was changed; use an older backup, or --despite-audit to restore it as it is"}
	case errors.Is(err, store.ErrFull) || isNoRoom(err):
		return &hint.Error{Err: err, Hint: "nothing was changed; free some space"}
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		return &hint.Error{Err: err, Hint: "nothing was changed; the user needs to be able to write beside the data root, which must not be a mount point: else move it aside yourself, and leave out --replace"}
	}
	return err
}

func (c *console) tellRestore(d restoreDone) error {
	fmt.Fprintf(c.stderr, "Restored %s, as it was at %s (engine %s).\n", d.Data, d.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC"), d.Engine)
	if d.Aside != "" {
		fmt.Fprintf(c.stderr, "What was there is in %s.\n", d.Aside)
	}
	fmt.Fprintf(c.stderr, `What came later is forgotten: look at locks, revocations, removed operators and tokens
of that time, and set them again. Devices that enrolled since have to enrol again, codes
have their uses back, and everybody has to sign in anew. Logs and drivers are not in a backup.
`)
	if d.SealKey != "" {
		fmt.Fprintf(c.stderr, "The engine does not start without its seal key: put the copy that you keep at %s,\nreadable by its owner only, or name its place with --seal-key.\n", d.SealKey)
	}
	_, err := fmt.Fprintf(c.stdout, "borealis serve --data %s\n", d.Data)
	return err
}
