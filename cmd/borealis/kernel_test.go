//go:build kernel

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"borealis/agent"
	"borealis/tunnel/wg"
)

// TestKernelJob is the whole job with WireGuard in the kernel on the engine's side.
// It is built and run by "make test-kernel", in a kernel that has it.
func TestKernelJob(t *testing.T) {
	data, mine := t.TempDir(), t.TempDir()
	if code, _, text := call(t, "init", "--data", data); code != exitDone {
		t.Fatal(text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var text bytes.Buffer
	served := make(chan int, 1)
	go func() {
		served <- run(ctx, []string{"serve", "--json", "--data", data, "--listen", "127.0.0.1:8443", "--link", "auto"}, in, &text)
		in.Close()
	}()
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatalf("serve: %v\n%s", err, text.String())
	}
	_, code, _ := call(t, "code", "new", "--data", data, "--auto-approve")
	enrolled, err := agent.Enrol(ctx, agent.EnrolConfig{Data: mine, Code: strings.TrimSpace(code)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(agent.Config{Data: mine, Link: wg.Netstack, Shell: "/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	agentDone := make(chan error, 1)
	go func() { agentDone <- a.Run(ctx) }()

	c := newClient(t, r.URL, apiToken(t, data, "nora"))
	c.device = enrolled.DeviceID
	var d struct{ Online bool }
	for !d.Online {
		c.do(ctx, http.MethodGet, "/api/devices/"+c.device, nil, &d)
	}
	c.connect(ctx)
	up := c.untilUp(ctx)
	if shown := show(t, "allowed-ips"); !strings.HasSuffix(shown, "\t"+up.VirtualIP+"/32\n") || strings.Count(shown, "\n") != 1 {
		t.Errorf("wg shows %q, want one peer with %s/32", shown, up.VirtualIP)
	}
	link, err := exec.Command("ip", "-d", "link", "show", "borealis0").CombinedOutput()
	if err != nil || !strings.Contains(string(link), "\n    wireguard ") {
		t.Errorf("the link is not the kernel's: %v\n%s", err, link)
	}
	w := c.terminal(ctx, "", -1)
	w.typed(ctx, "echo $((6*7))\"-in-the-kernel\"\r")
	w.expect(ctx, "42-in-the-kernel")
	c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, nil)
	if peers := show(t, "peers"); peers != "" {
		t.Errorf("peers are left: %q", peers)
	}
	cancel()
	if code := <-served; code != exitDone {
		t.Errorf("serve ended with %d: %s", code, text.String())
	}
	if err := <-agentDone; err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	if links, err := exec.Command("ip", "-br", "link").Output(); err != nil || strings.Contains(string(links), "borealis0") {
		t.Errorf("links: %s %v", links, err)
	}
}

func show(t *testing.T, what string) string {
	t.Helper()
	out, err := exec.Command("wg", "show", "borealis0", what).CombinedOutput()
	if err != nil {
		t.Fatalf("wg show %s: %v\n%s", what, err, out)
	}
	return string(out)
}
