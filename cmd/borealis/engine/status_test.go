package engine

import (
	"net"
	"strings"
	"testing"
)

// TestStatus: the line about the engine is the truth, whatever is wrong with it.
func TestStatus(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	e := begun(t, newRoot(t), taken.LocalAddr().(*net.UDPAddr).Port)
	if got := e.Status(t.Context()); !strings.HasPrefix(got, "serving; 0 agents, 0 tunnels; tunnels are unavailable: UDP port ") {
		t.Errorf("with the port taken: %q", got)
	}
	e.Store.Close()
	if got := e.Status(t.Context()); !strings.HasPrefix(got, "unhealthy: ") {
		t.Errorf("without its database: %q", got)
	}
	e.Close()
	if parts := e.Handlers.Parts(t.Context()); parts[0].Name != "engine" || parts[0].Err == nil {
		t.Errorf("an engine that has stopped says that its parts are %v", parts)
	}
}
