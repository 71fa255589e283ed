package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"borealis/agent/wire"
)

// TestFlowsEndWithTheirTunnel ends a tunnel with a terminal and a connection of the engine's own in it. The kernel
// keeps nothing of either: the peer is gone, so that a goodbye would be repeated in vain, maybe until the address
// is another device's.
func TestFlowsEndWithTheirTunnel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN)
	h := r.join(t)
	nora := holder("nora")
	st := r.up(t, h, nora)
	if _, _, err := r.Terminal(t.Context(), nora, TerminalRequest{TunnelID: st.TunnelID}); err != nil {
		t.Fatal(err)
	}
	flow, err := r.session(st.TunnelID).dialTCP(t.Context(), wire.ShellPort)
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	ip := st.VirtualIP.As4()
	to := fmt.Sprintf(" %08X:%04X ", binary.NativeEndian.Uint32(ip[:]), wire.ShellPort) // as the kernel prints it
	table := func() (lines []string) {
		text, err := os.ReadFile("/proc/self/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return !strings.Contains(l, to) })
	}
	var open []string // local ends, each before the far end
	for _, line := range table() {
		if from, state, _ := strings.Cut(line, to); strings.HasPrefix(state, "01 ") { // established, unlike probes that are over
			open = append(open, strings.Fields(from)[1]+to)
		}
	}
	if len(open) < 2 { // a line may come twice
		t.Errorf("%q are open, without the terminal's or the engine's own", open)
	}
	if _, err := r.Disconnect(t.Context(), st.TunnelID, nora, true); err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool { return r.session(st.TunnelID) == nil })
	for _, line := range table() {
		if slices.ContainsFunc(open, func(o string) bool { return strings.Contains(line, o) }) {
			t.Errorf("it is left: %s", line)
		}
	}
	if _, err := io.Copy(io.Discard, flow); !errors.Is(err, OperatorForceStop) { // after the shell's banner
		t.Errorf("reading from it: %v", err)
	}
}
