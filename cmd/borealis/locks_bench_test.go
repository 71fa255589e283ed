//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// locks measures how long a shell of an operator lives on whom somebody locks with a
// command beside the engine: from its start, so that of the process is included. An
// administrator keeps the tunnel.
func (p *pair) locks(ctx context.Context, n int) figure {
	command := func(args ...string) string {
		out, err := exec.Command(filepath.Join(p.bin, "borealis"), append(args, "--data", p.data)...).Output()
		if err != nil {
			p.b.Fatalf("%q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	var took []time.Duration
	for i := range n {
		name := fmt.Sprintf("locked-%d", i)
		command("operator", "add", name)
		c := newClient(p.b, p.client.base, command("token", "new", "--operator", name))
		c.device = p.client.device
		c.connect(ctx)
		w := c.terminal(ctx, "", -1)
		w.typed(ctx, "echo he\"re\"\r")
		w.expect(ctx, "here")
		start := time.Now()
		command("operator", "lock", name, "--reason", "measured")
		w.untilCut(ctx)
		took = append(took, time.Since(start))
	}
	return figure{fmt.Sprintf("lock an operator by a command → that operator's shell is gone, p50 / p99 of %d", n), quantiles(took, 0.5, 0.99)}
}
