package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.uber.org/goleak"

	"borealis/store"
	"borealis/store/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a data root with a little of everything, and a pair that opens its backups.
type rig struct {
	dir, root string
	id        *age.X25519Identity
	key       ed25519.PrivateKey // that signs checkpoints
	store     *store.Store
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir()}
	r.root = filepath.Join(r.dir, "root")
	var err error
	if r.id, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	if _, r.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"Engine/Certificates/identity.crt":             "a certificate",
		"Engine/Certificates/identity.key":             "a sealed key",
		"Engine/Certificates/.identity.key.UNFINISHED": "half",
		"Engine/Certificates/VPN_Server/wireguard.key": "another sealed key",
		"Engine/syslog_cursor":                         "2\n",
		"Engine/Logs/reverse_tunnel.log":               "a log",
		"Dependencies/VPN_Tunnel_Adapter/README.txt":   "drivers",
	} {
		r.write(t, filepath.Join(r.root, name), content)
	}
	r.store = r.open(t, r.root)
	r.add(t, 5)
	r.sign(t)
	r.add(t, 2)
	return r
}

// open opens the database of a data root until the test ends.
func (r *rig) open(t testing.TB, root string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(root, databasePath))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *rig) write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// add adds records to the trail.
func (r *rig) add(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if err := r.store.AddRecord(t.Context(), store.Record{Kind: "happened", Detail: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// sign signs the trail, as the engine does when it ends.
func (r *rig) sign(t testing.TB) {
	t.Helper()
	s, err := audit.NewSigner(audit.Config{Store: r.store, Key: r.key, Vouch: []byte("vouch"), File: filepath.Join(r.root, checkpointsPath)})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.Run(ended); err != nil {
		t.Fatal(err)
	}
}

// trust knows the rig's key.
func (r *rig) trust(root string, _ []store.Checkpoint) (func(ed25519.PublicKey, []byte) error, error) {
	if _, err := os.Stat(filepath.Join(root, certificatesPath, "identity.crt")); err != nil {
		return nil, err
	}
	return func(key ed25519.PublicKey, _ []byte) error {
		if !key.Equal(r.key.Public()) {
			return errors.New("another key")
		}
		return nil
	}, nil
}

func (r *rig) config() Config {
	return Config{
		Store: r.store, Root: r.root, Version: "1.2.3", Engine: "abcdefghijk", Recipients: []age.Recipient{r.id.Recipient()}, Trust: r.trust,
	}
}

// backup makes a backup with a name.
func (r *rig) backup(t testing.TB, name string) Made {
	t.Helper()
	m, err := Make(t.Context(), r.config(), filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (r *rig) restoring(file, root string) RestoreConfig {
	return RestoreConfig{
		File: file, Identities: []age.Identity{r.id}, Root: root, Trust: r.trust,
		Actor: store.Record{}.By(store.Actor{Name: "console", Source: "local user test"}),
	}
}

// tree is all that is in a folder: the content of files, and "mode" of folders.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if e.IsDir() {
			all[name] = "folder"
			return nil
		}
		b, err := os.ReadFile(path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// litter are unfinished things of backups and restores.
func (r *rig) litter(t testing.TB) []string {
	t.Helper()
	var all []string
	for name := range tree(t, r.dir) {
		if strings.Contains(name, restoring) || strings.Contains(name, ".backup-") || strings.Contains(name, ".borealis-backup-") {
			all = append(all, name)
		}
	}
	return all
}

// records are those of a data root.
func (r *rig) records(t testing.TB, root string) []store.Record {
	t.Helper()
	var all []store.Record
	err := r.open(t, root).EachRecord(t.Context(), 0, func(one store.Record) error {
		all = append(all, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// session makes a web session.
func (r *rig) session(t testing.TB) {
	t.Helper()
	o, err := r.store.AddOperator(t.Context(), store.Operator{Name: "ada", PasswordHash: "h", Role: "admin"}, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, err = r.store.AddSession(t.Context(), [32]byte{1}, store.Session{OperatorID: o.ID, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour)}, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
}

func keysOf(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// digest is the SHA-256 of a text as manifests have it.
func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
