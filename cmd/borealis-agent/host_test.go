package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"borealis/agent/shell"
)

// The service starts the agent once more to host a shell; whoever else does is told so.
func TestShellHost(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := run(context.Background(), []string{shell.HostCommand}, &out, io.Discard); code == 0 || !strings.Contains(out.String(), "no use to people") {
		t.Errorf("exit code %d, %q", code, out.String())
	}
	if code := run(context.Background(), []string{shell.HostCommand, "--now"}, io.Discard, io.Discard); code != exitUsage {
		t.Errorf("with an argument: exit code %d", code)
	}
}
