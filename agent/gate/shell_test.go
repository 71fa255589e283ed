package gate_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// TestShell takes the place of the shell's server.
func TestShell(t *testing.T) {
	t.Parallel()
	allowed := []token.Port{port("tcp", wire.ShellPort)}
	u := newTunnel(t, engineIP, allowed...)
	shell := u.gate.Shell()
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := shell.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			serving.Go(func() { _, err := io.Copy(c, c); c.Close(); ended <- err })
		}
	})
	for round := range int64(2) {
		c := u.mustDial(t, "tcp", wire.ShellPort)
		if err := ping(c, soon); err != nil {
			t.Fatal(err)
		}
		if err := u.gate.Set(2*round+1, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the engine reads %v, want a reset", err)
		}
		if err := <-ended; err == nil {
			t.Error("the server sees an orderly end")
		}
		if _, err := u.dial(t, "tcp", wire.ShellPort); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("while it is closed: %v", err)
		}
		if err := u.gate.Set(2*round+2, allowed); err != nil {
			t.Fatal(err)
		}
	}
	c := u.mustDial(t, "tcp", wire.ShellPort)
	c.Close()
	if err := <-ended; err != nil {
		t.Errorf("an orderly end reads as %v", err)
	}
	eventually(t, "the flow is over", func() bool { tcp, _, _ := u.gate.Flows(); return tcp == 0 })
	shell.Close()
	serving.Wait()
	if _, err := u.dial(t, "tcp", wire.ShellPort); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the server ended: %v", err)
	}
	if _, err := shell.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
}
