package engine

import (
	"log/slog"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"borealis/tunnel/wg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRoot makes a data root.
func newRoot(t *testing.T) Root {
	t.Helper()
	root := Root(filepath.Join(t.TempDir(), "root"))
	if _, err := Init(t.Context(), root, "admin", Seal{}); err != nil {
		t.Fatal(err)
	}
	return root
}

// begun starts an engine, which ends with the test or before. WireGuard is inside the process, at a
// UDP port; 0 is any.
func begun(t *testing.T, root Root, port int) *Engine {
	t.Helper()
	log, file, err := OpenLog(root.Log(), slog.LevelInfo, slog.DiscardHandler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	e, err := Start(t.Context(), Config{Data: root, Listen: "127.0.0.1:0", UDPPort: port, Link: wg.Netstack, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close) // also when something is wrong; twice does no harm
	return e
}
