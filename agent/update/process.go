package update

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// watchStart is how long a watcher may take to begin.
const watchStart = 15 * time.Second

// watch starts the watcher: the previous program, with the command watch-update, in a
// process that outlives this one. It returns when the watch has begun.
func (p Place) watch() error {
	program := exec.Command(p.previous(), "watch-update", "--data", p.Data, "--exe", p.Exe) //nolint:gosec,noctx // Our own program, which is to outlive us.
	program.SysProcAttr = detached()
	said, err := program.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the watcher: %w", err)
	}
	if err := program.Start(); err != nil {
		return fmt.Errorf("start the watcher: %w", err)
	}
	late := time.AfterFunc(watchStart, func() { _ = program.Process.Kill() })
	line, err := bufio.NewReader(said).ReadString('\n')
	late.Stop()
	said.Close()
	if strings.TrimSpace(line) != "watching" {
		_ = program.Process.Kill()
		return fmt.Errorf("start the watcher: it ended before it began: %w", errors.Join(err, program.Wait()))
	}
	return program.Process.Release()
}
