package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"borealis/agent"
	"borealis/tunnel/wg"
)

// Environment of this program when it is not to test, but to be the program that is tested, and to
// kill itself when its log comes to a point.
const (
	doomedAs = "BOREALIS_TEST_PROGRAM" // engine, agent, sim-fleet or agent-fleet
	doomedAt = "BOREALIS_TEST_DIES_AT" // what a line of the log contains; "" = never
	doomedIn = "BOREALIS_TEST_DIES_IN" // at which of these lines it dies; 1 is the first
)

func TestMain(m *testing.M) {
	switch os.Getenv(doomedAs) {
	case "engine":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, newDoom(os.Stderr)))
	case "agent":
		os.Exit(doomedAgent(os.Args[1]))
	case "sim-fleet":
		os.Exit(simFleet(os.Args[1]))
	case "agent-fleet":
		os.Exit(agentFleet(os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

// doomedAgent runs the agent of a data root, as "borealis-agent run" does.
func doomedAgent(data string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(newDoom(os.Stderr), &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := agent.Open(agent.Config{Data: data, Shell: "/bin/sh", Link: wg.Netstack, Version: "doomed", Logger: log})
	if err == nil {
		err = a.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitDone
}

// A doom is a log that kills its program, at once and without a word, when it comes to a point. A
// handler of slog writes each line while the program waits, so nothing more is done.
type doom struct {
	to io.Writer
	at []byte

	mu sync.Mutex
	in int // so many more of these lines
}

func newDoom(to io.Writer) *doom {
	in, err := strconv.Atoi(os.Getenv(doomedIn))
	if err != nil {
		in = 1
	}
	return &doom{to: to, at: []byte(os.Getenv(doomedAt)), in: in}
}

func (d *doom) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.at) > 0 && bytes.Contains(p, d.at) {
		if d.in--; d.in == 0 {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Kill()
			}
			select {}
		}
	}
	return d.to.Write(p)
}
