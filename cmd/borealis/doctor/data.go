package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"borealis/agent/checkup"
	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/store/audit"
	"borealis/store/backup"
	"borealis/tunnel/keys/seal"
)

// What is too little or too much.
const (
	fewBytes  = 512 << 20        // of free disk
	trailTime = 10 * time.Second // for the whole audit trail
	lateSign  = 10 * time.Minute // after a record, for a checkpoint to cover it
	maxAhead  = 2 * time.Minute  // of a record's time before this host's
)

// dataRoot looks at the folder and at who may read what is in it.
func (d *doctor) dataRoot() checkup.Finding {
	const name = "data root"
	root := string(d.Root)
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unwell(name, fmt.Sprintf("make it with \"borealis init --data %s\", or name another one with --data", root), "there is no %s", root)
	case err != nil:
		return judged(name, err, "")
	case !info.IsDir():
		return unwell(name, "name the folder of the engine's data with --data", "%s is not a folder", root)
	}
	if _, err := os.Stat(d.Root.Database()); errors.Is(err, fs.ErrNotExist) {
		return unwell(name, fmt.Sprintf("make it with \"borealis init --data %s\", or name another one with --data", root), "there is no engine in %s", root)
	} else if err != nil {
		return judged(name, err, "")
	}
	owner, files := ownerOf(info), 0
	err = filepath.WalkDir(filepath.Join(root, "Engine"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was a temporary one
			return nil
		} else if err != nil {
			return err
		}
		files++
		if info.Mode().Perm()&0o077 != 0 {
			return &hint.Error{Err: fmt.Errorf("%s can be read by others: its mode is %o", path, info.Mode().Perm()), Hint: fmt.Sprintf("chmod -R go= %s", root)}
		}
		if is := ownerOf(info); is != owner {
			return &hint.Error{Err: fmt.Errorf("%s belongs to user %d, and %s to user %d", path, is, root, owner), Hint: fmt.Sprintf("chown -R %d %s", owner, root)}
		}
		return nil
	})
	if err != nil {
		return judged(name, err, "")
	}
	return checkup.Well(name, "%s: %d files of user %d, for nobody else", root, files, owner)
}

// engineRuns looks whether an engine works on the data root.
func (d *doctor) engineRuns() checkup.Finding {
	const name = "engine"
	const start = "start it with \"systemctl start borealis\" or \"borealis serve\"; journalctl -u borealis says why it ended"
	f, err := os.Open(filepath.Join(string(d.Root), "Engine", "engine.lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return unwell(name, start, "no engine runs on this data root")
	} else if err != nil {
		return judged(name, err, "")
	}
	defer f.Close()
	free, err := backup.Lock(f)
	switch {
	case err != nil:
		return judged(name, err, "")
	case free:
		return unwell(name, start, "no engine runs on this data root")
	}
	d.held = true
	who, _ := io.ReadAll(io.LimitReader(f, 20)) // whose process it is, is a help only
	d.pid, _ = strconv.Atoi(strings.TrimSpace(string(who)))
	return checkup.Well(name, "one engine runs on this data root, as process %d", d.pid)
}

// openStore opens the database, and looks at it. An older one is not opened: that would
// change it. The caller calls done.
func (d *doctor) openStore(ctx context.Context) (done func()) {
	const name = "database"
	began := time.Now()
	add := func(f checkup.Finding) { d.found = append(d.found, f.Since(began)) }
	path := d.Root.Database()
	info, err := os.Stat(path)
	if err != nil {
		add(judged(name, err, "restore a backup, or name another data root with --data"))
		return func() {}
	}
	version, err := schemaOnDisk(path)
	if err != nil {
		add(judged(name, err, "restore a backup"))
		return func() {}
	}
	if known, err := store.Schema(); err == nil && version < known && !d.held {
		add(note(name, "start the engine: that brings it up to date, and keeps a copy of it as it is", "it has schema version %d, and this program %d; what is in it is not looked at", version, known))
		return func() {}
	}
	if d.store, err = d.Root.OpenStore(ctx); err != nil {
		add(judged(name, err, ""))
		return func() {}
	}
	d.address, _ = d.store.Setting(ctx, engine.AddressSetting) // what needs it says that it is not known
	now, err := d.store.SchemaVersion(ctx)
	if err != nil {
		add(judged(name, err, ""))
	} else {
		add(checkup.Well(name, "sound, schema version %d, %d KiB", now, info.Size()>>10))
	}
	return func() { _ = d.store.Close() } // it was only read
}

// schemaOnDisk reads the schema version from the header of a database, without opening it.
func schemaOnDisk(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return 0, fmt.Errorf("%s is not a database: %w", path, err)
	}
	return int(binary.BigEndian.Uint32(header[60:])), nil
}

// disk looks for room.
func (d *doctor) disk(context.Context) checkup.Finding {
	const name = "disk"
	at := string(d.Root)
	for parent := filepath.Dir(at); parent != at; at, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(at); err == nil {
			break
		}
	}
	free, err := roomAt(at)
	switch {
	case err != nil:
		return judged(name, fmt.Errorf("look how much room %s has: %w", at, err), "")
	case free < fewBytes:
		return unwell(name, "free some space: what cannot be recorded is refused, and tunnels end", "%s has %d MiB left", at, free>>20)
	}
	return checkup.Well(name, "%s has %d MiB left", at, free>>20)
}

// sealKey looks whether the key opens what it sealed.
func (d *doctor) sealKey(context.Context) checkup.Finding {
	const name = "seal key"
	path := filepath.Join(d.Root.Certificates(), "identity.key")
	sealed, err := os.ReadFile(path)
	if err != nil {
		return judged(name, err, "restore a backup: without its identity no agent knows this engine")
	}
	if !seal.IsSealed(sealed) {
		return note(name, "start the engine once: it seals them", "the engine's keys are not sealed yet")
	}
	if salt := filepath.Join(d.Root.Certificates(), "seal.salt"); d.Seal.PassphraseFile != "" {
		if _, err := os.Stat(salt); err != nil {
			return judged(name, err, "restore it from a backup: the passphrase opens nothing without it")
		}
	}
	box, err := d.Seal.Open(d.Root)
	if err != nil {
		return judged(name, err, "")
	}
	if _, err := box.Open("file:identity.key", sealed); err != nil {
		return judged(name, fmt.Errorf("open the engine's identity: %w", err), "name the key that this data root was made with by --seal-key, or restore it from where you keep its copy")
	}
	return checkup.Well(name, "key %s opens the engine's keys", box.ID())
}

// identity reads who the engine is.
func (d *doctor) identity(context.Context) checkup.Finding {
	const name = "identity"
	pin, err := d.Root.Pin()
	if err != nil {
		return judged(name, err, "restore a backup: without its identity no agent knows this engine")
	}
	d.pin = pin
	return checkup.Well(name, "%s (%s)", pin.Words(), pin)
}

// trail checks the whole audit trail, if that does not take long.
func (d *doctor) trail(ctx context.Context) checkup.Finding {
	const name = "audit trail"
	if d.store == nil {
		return note(name, "", "not looked at: the database is not open")
	}
	identity, err := engine.ReadIdentity(d.Root.Identity())
	if err != nil {
		return judged(name, err, "")
	}
	limited, cancel := context.WithTimeout(ctx, trailTime)
	defer cancel()
	r, err := engine.VerifyStore(limited, d.store, d.Root, nil, identity)
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return note(name, "run \"borealis audit verify\", which takes its time", "not checked to its end in %s", trailTime)
	case err != nil:
		return judged(name, err, "")
	case !r.OK():
		return unwell(name, "keep the database and the checkpoint files as they are, and compare them with a backup and with what the log server has", "%s", r)
	case d.held && r.Uncovered > 2*audit.CheckpointRecords && time.Since(r.CoveredAt) > lateSign:
		return unwell(name, "the engine's log says why it does not sign: look for \"audit_failed\"", "%s", r)
	}
	return checkup.Well(name, "%s", r)
}

// clock compares this host's clock with what was recorded.
func (d *doctor) clock(ctx context.Context) checkup.Finding {
	const name = "clock"
	now := time.Now().UTC()
	if d.store == nil {
		return note(name, "", "%s; not compared with the records, for the database is not open", now.Format(time.RFC3339))
	}
	last, err := d.store.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, Limit: 1})
	if err != nil {
		return judged(name, err, "")
	}
	if len(last) > 0 && last[0].At.Sub(now) > maxAhead {
		return unwell(name, "set this host's clock, and let chrony or systemd-timesyncd keep it: tokens hold for two minutes", "it is %s, and the newest record is of %s", now.Format(time.RFC3339), last[0].At.UTC().Format(time.RFC3339))
	}
	return checkup.Well(name, "%s, and no record is of later", now.Format(time.RFC3339))
}

// fleet counts devices.
func (d *doctor) fleet(ctx context.Context) checkup.Finding {
	const name = "agents"
	if d.store == nil {
		return note(name, "", "not known: the database is not open")
	}
	f, err := d.store.Figures(ctx)
	if err != nil {
		return judged(name, err, "")
	}
	n := f.Devices
	text := fmt.Sprintf("%d active, %d waiting for approval, %d quarantined, %d revoked", n[store.Active], n[store.Pending], n[store.Quarantined], n[store.Revoked])
	if n[store.Pending] > 0 {
		return note(name, "compare their words, then \"borealis device approve ID\"", "%s", text)
	}
	return checkup.Well(name, "%s", text)
}
