//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// reckon ends it all: whatever was acknowledged is on record, each tunnel has ended exactly once,
// the chain holds, and the host is as it was.
func (k *killing) reckon(t *testing.T) {
	t.Helper()
	for _, m := range k.agents {
		m.stop()
	}
	k.stopEngine(t)
	k.start(t, "")
	k.stopEngine(t)
	if saved := rules(k.here("iptables-save")); saved != "" {
		t.Errorf("rules are left: %s", saved)
	}
	if links := k.here("ip", "-br", "link"); strings.Contains(links, "borealis0") {
		t.Errorf("links are left: %s", links)
	}
	k.run("audit", "verify", "--data", k.data)
	begun, ended := make(map[string]int), make(map[string]int)
	var changes strings.Builder
	for line := range strings.Lines(k.run("audit", "export", "--data", k.data)) {
		var r struct {
			Kind, Detail string
			Tunnel       string `json:"tunnel_id"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch r.Kind {
		case "tunnel_requested":
			begun[r.Tunnel]++
		case "tunnel_down":
			ended[r.Tunnel]++
		case "ports_changed":
			changes.WriteString(r.Detail + "\n")
		}
	}
	for _, id := range k.tunnels {
		if begun[id] != 1 {
			t.Errorf("tunnel %s was acknowledged and is %d times on record", id, begun[id])
		}
	}
	for id := range begun {
		if ended[id] != 1 {
			t.Errorf("tunnel %s ended %d times", id, ended[id])
		}
	}
	for _, port := range k.opened {
		if !strings.Contains(changes.String(), fmt.Sprintf("%d/tcp allowed", port)) {
			t.Errorf("port %d was opened, which is not on record", port)
		}
	}
	slices.Sort(k.back)
	t.Logf("%d tunnels begun, %d acknowledged, %d ports opened; engines were back in %v at most, %v usually",
		len(begun), len(k.tunnels), len(k.opened), k.back[len(k.back)-1].Round(time.Millisecond), k.back[len(k.back)/2].Round(time.Millisecond))
}
