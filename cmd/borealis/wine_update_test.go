//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// upgraded replaces the engine by one of another release.
func (w *windows) upgraded(t *testing.T, version string, sequence int64, agent string) {
	t.Helper()
	w.stopEngine(t)
	w.builder.engine(w.bin, version, sequence, agent)
	w.restarted(t)
	if code := w.client.do(t.Context(), http.MethodPost, "/api/devices/"+w.device+"/update", struct{}{}, nil); code != http.StatusOK && code != http.StatusAccepted {
		t.Fatalf("offer the update: %d", code)
	}
}

// told waits until the activity of the device has a kind.
func (w *windows) told(t *testing.T, kind string) {
	t.Helper()
	w.eventuallyIn(longer, kind, func() bool {
		var list json.RawMessage
		w.client.do(t.Context(), http.MethodGet, "/api/activity?device_id="+w.device, nil, &list)
		return bytes.Contains(list, []byte(fmt.Sprintf("%q", kind)))
	})
}

// updates has an administrator offer a new version, which the agent takes.
func (w *windows) updates(t *testing.T) {
	w.upgraded(t, "1.1.0", 2, w.builder.agent("1.1.0", 2))
	w.told(t, "agent_updated")
	w.eventually("the new version", func() bool { d := w.state(t); return d.Online && d.AgentVersion == "1.1.0" })
}

// rollsBack offers a version that does not run.
func (w *windows) rollsBack(t *testing.T) {
	broken := filepath.Join(w.builder.dir, "agent-broken.exe")
	w.builder.tool([]string{"GOOS=windows", "GOARCH=amd64"}, "build", "-overlay", w.builder.overlay, "-o", broken, "./testdata/broken")
	w.upgraded(t, "1.2.0", 3, broken)
	w.told(t, "agent_update_rolled_back")
	if d := w.state(t); !d.Online || d.AgentVersion != "1.1.0" {
		t.Errorf("%+v", d)
	}
	// Wine's service manager loses track of a service that once did not start.
	w.pc.off()
	w.pc.on()
	w.eventually("the service to run", func() bool {
		return strings.Contains(w.pc.start(w.pc.command("wine", agentExe, "doctor", "--json")).text, `{"name":"service","ok":true`)
	})
	w.online(t)
}
