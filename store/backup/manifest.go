package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

const (
	format       = "borealis-backup"
	version      = 1
	manifestName = "manifest.json"

	databasePath     = "Engine/borealis.db"
	certificatesPath = "Engine/Certificates"
	checkpointsPath  = "Engine/Logs/audit_checkpoints.jsonl"
	cursorPath       = "Engine/syslog_cursor"

	maxManifest    = 1 << 20  // bytes
	maxFiles       = 1000     // in a backup
	maxSmall       = 1 << 20  // bytes of a key, a certificate or a setting
	maxCheckpoints = 4 << 30  // bytes
	maxDatabase    = 64 << 30 // bytes
)

// A Manifest says what is in a backup. It is the first file in it.
type Manifest struct {
	Format        string    `json:"format"`         // "borealis-backup"
	Version       int       `json:"version"`        // of the format
	EngineVersion string    `json:"engine_version"` // of the program that made it
	Schema        int       `json:"schema"`         // version of the database
	MadeAt        time.Time `json:"made_at"`        // everything up to then is in it
	Engine        string    `json:"engine"`         // pin of the engine's identity
	Seq           int64     `json:"audit_seq"`      // number of the newest audit record
	Hash          string    `json:"audit_hash"`     // its hash, hexadecimal
	Trail         string    `json:"audit_fault"`    // what is wrong with the trail; empty: nothing
	Files         []File    `json:"files"`          // in the order in which they follow
}

// A File is one file of a backup.
type File struct {
	Path   string `json:"path"` // below the data root, with slashes
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// readManifest reads a manifest and refuses what a restore could not do.
func readManifest(from io.Reader, schema int) (m Manifest, err error) {
	b, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err != nil {
		return Manifest{}, err
	}
	if len(b) > maxManifest {
		return Manifest{}, errors.New("its manifest is too large")
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Format != format {
		return Manifest{}, errors.New("it is not a backup of Borealis")
	}
	if m.Version != version || m.Schema > schema {
		return Manifest{}, &NewerError{m.EngineVersion}
	}
	return m, m.check()
}

// A NewerError is a backup that only a newer program can restore.
type NewerError struct{ Version string }

// Error says which program it was.
func (e *NewerError) Error() string {
	return fmt.Sprintf("it was made by a newer Borealis (%s): install that one, and restore with it", e.Version)
}

// check makes sure that the files of a manifest are those that a backup has.
func (m Manifest) check() error {
	if len(m.Files) > maxFiles {
		return errors.New("it has too many files")
	}
	seen := make(map[string]bool)
	for _, f := range m.Files {
		most := int64(maxSmall)
		switch {
		case f.Path == databasePath:
			most = maxDatabase
		case f.Path == checkpointsPath:
			most = maxCheckpoints
		case f.Path == cursorPath:
		case strings.HasPrefix(f.Path, certificatesPath+"/") && path.Clean(f.Path) == f.Path && !strings.ContainsAny(f.Path, "\\:\x00"):
		default:
			return fmt.Errorf("a file named %q does not belong into a backup", f.Path)
		}
		if f.Size < 0 || f.Size > most {
			return fmt.Errorf("%s has a size of %d bytes, which cannot be", f.Path, f.Size)
		}
		if seen[f.Path] {
			return fmt.Errorf("%s is in it twice", f.Path)
		}
		seen[f.Path] = true
	}
	if !seen[databasePath] || !seen[certificatesPath+"/identity.crt"] {
		return errors.New("it has no database, or no identity")
	}
	return nil
}

// bytes is how much the files need on the disk.
func (m Manifest) bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}
