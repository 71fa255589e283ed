package main

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestMetricsPortInUse: who starts an engine is told what the matter is.
func TestMetricsPortInUse(t *testing.T) {
	data := newRoot(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var said strings.Builder
	code := run(t.Context(), []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack", "--metrics", taken.Addr().String()}, io.Discard, &said)
	if code != exitFailed || !strings.Contains(said.String(), "listen for metrics") || !strings.Contains(said.String(), "address already in use") ||
		!strings.Contains(said.String(), "--metrics") {
		t.Errorf("exit %d: %s", code, said.String())
	}
}
