package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/service"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// logOf reads the log of an agent until it has a text.
func logOf(t *testing.T, data, until string) string {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(30 * time.Second)
	for {
		b, err := os.ReadFile(filepath.Join(data, "Agent", "Logs", "reverse_tunnel.log"))
		if err == nil && strings.Contains(string(b), until) {
			return string(b)
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("the log does not say %s: %v\n%s", until, err, b)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	_, code := engine(t, "active")
	data := t.TempDir()
	c := agent.Config{Data: data, Link: wg.Netstack, Version: "1.2.3"}
	if err := serve(t.Context(), c, nil); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Errorf("before enrolment: %v", err)
	}
	if log := logOf(t, data, "msg=service_failed"); !strings.Contains(log, keys.ErrNotEnrolled.Error()) {
		t.Errorf("before enrolment the log says\n%s", log)
	}
	say(t, exitDone, "enrol", "--data", data, "--code", code.String())
	ctx, stop := context.WithCancel(t.Context())
	events, ended := make(chan service.Event), make(chan error, 1)
	go func() { ended <- serve(ctx, c, events) }()
	logOf(t, data, "msg=agent_unreachable") // That engine enrols, and has no channel.
	events <- service.Resumed
	events <- service.NetworkChanged
	logOf(t, data, `msg=agent_nudged reason="the device woke up"`)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if log := logOf(t, data, "msg=service_stopped restarts=false"); !strings.Contains(log, "msg=service_started version=1.2.3") {
		t.Errorf("the log says\n%s", log)
	}
}

func TestServiceUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"service"},
		{"service", "start"},
		{"service", "run", "--link", "kernel"},
		{"service", "run", "more"},
		{"install", "--link", "kernel"},
		{"install", "more"},
		{"install", "--replace"},
		{"uninstall", "more"},
	} {
		if _, errs := say(t, exitUsage, args...); !strings.Contains(errs, "usage") {
			t.Errorf("%v says %q", args, errs)
		}
	}
}
