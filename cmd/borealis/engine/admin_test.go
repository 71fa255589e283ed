package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/cmd/hint"
)

// TestMetricsAddress: the admin listener asks nobody who they are, so nobody else may reach it.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]string{
		"":                   "",
		"127.0.0.1:9464":     "",
		"127.0.0.77:9464":    "",
		"[::1]:9464":         "",
		"localhost:9464":     "",
		"unix:/run/b/m.sock": "",
		":9464":              "this host only",
		"0.0.0.0:9464":       "this host only",
		"[::]:9464":          "this host only",
		"192.0.2.1:9464":     "this host only",
		"engine.example:80":  "this host only",
		"127.0.0.1":          "HOST:PORT",
		"9464":               "HOST:PORT",
		"unix:":              "path",
	} {
		err := CheckMetrics(address)
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%q: %v, want %q", address, err, refused)
		}
		if err != nil {
			if _, ok := errors.AsType[hint.Usage](err); !ok {
				t.Errorf("%q: %T", address, err)
			}
		}
	}
}

// TestMetricsSocket: a socket that a killed engine left is no obstacle; anything else stays as it is.
func TestMetricsSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	listening := func() (net.Listener, error) { return listenLocal(context.Background(), unixPrefix+path) }
	first, err := listening()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != unixMode {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	if _, err := listening(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second engine: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listening()
	if err != nil {
		t.Fatalf("after a killed engine: %v", err)
	}
	second.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listening(); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}
