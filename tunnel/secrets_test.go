package tunnel

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A safeBuffer may be written to by many.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// TestKeysOfATunnelAreNotTold looks for a tunnel's preshared key and its shell key,
// which only the two ends may know, in the status, the log and the database.
func TestKeysOfATunnelAreNotTold(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	r := newRig(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	s := r.session(st.TunnelID)
	secrets := map[string][]byte{"preshared key": s.psk[:], "shell key": s.shellKey.Seed(), "engine's WireGuard key": r.keys.WireGuard[:]}
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), true); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string][]byte{"status": fmt.Appendf(asJSON, "%+v", st), "log": log.Bytes()}
	files, err := filepath.Glob(filepath.Join(r.dir, "borealis.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if told[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for where, text := range told {
		for name, key := range secrets {
			for _, form := range [][]byte{key, []byte(base64.StdEncoding.EncodeToString(key)), []byte(base64.RawURLEncoding.EncodeToString(key)), []byte(hex.EncodeToString(key))} {
				if bytes.Contains(text, form) {
					t.Errorf("the %s is in the %s", name, where)
				}
			}
		}
	}
	if !bytes.Contains(told["log"], []byte(st.TunnelID)) {
		t.Error("the log says nothing of the tunnel")
	}
}
