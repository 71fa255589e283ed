package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program runs a program of this host that is in the path of root, for five seconds at most, and
// returns what it prints.
func Program(ctx context.Context, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // names and arguments are constants
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		first, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		err = fmt.Errorf("%s: %w: %.200s", name, err, first)
	}
	return string(out), err
}

// Rules are the lines of the packet filter that belong to Borealis; "" when it cannot be
// read.
func Rules(ctx context.Context) string {
	var ours strings.Builder
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		text, err := Program(ctx, program, "-c", "-t", "filter")
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "BRL-") {
				ours.WriteString(line)
			}
		}
	}
	return ours.String()
}
