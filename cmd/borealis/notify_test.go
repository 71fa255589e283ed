package main

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestSupervisorIsTold plays systemd: the engine says that it is ready, then that it is
// alive, again and again, how it does, and at the end that it stops.
func TestSupervisorIsTold(t *testing.T) {
	data := newRoot(t)
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack"}, io.Discard, io.Discard)
	}()
	var statuses []string
	listen := func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	hear := func() string {
		t.Helper()
		for {
			said := listen()
			status, ok := strings.CutPrefix(said, "STATUS=")
			if !ok {
				return said
			}
			statuses = append(statuses, status)
		}
	}
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(); got != want {
			t.Errorf("message %d is %q, want %q", i, got, want)
		}
	}
	for len(statuses) == 0 {
		hear()
	}
	cancel()
	said := hear()
	for said == "WATCHDOG=1" {
		said = hear()
	}
	if said != "STOPPING=1" {
		t.Errorf("at the end it says %q", said)
	}
	if code := <-done; code != exitDone {
		t.Errorf("serve ended with %d", code)
	}
	if len(statuses) != 1 || statuses[0] != "serving; 0 agents, 0 tunnels" { // said once, for nothing changed
		t.Errorf("its status is %q", statuses)
	}
}

// TestStatusLine: the line in "systemctl status" is one line, and not without end.
func TestStatusLine(t *testing.T) {
	t.Parallel()
	if got := oneLine("a\nREADY=1\n\tb  c"); got != "a READY=1 b c" {
		t.Errorf("lines become %q", got)
	}
	if got := oneLine(strings.Repeat("ä", maxStatus)); len(got) > maxStatus || !utf8.ValidString(got) {
		t.Errorf("a long line becomes %d bytes", len(got))
	}
}
