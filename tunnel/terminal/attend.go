package terminal

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"borealis/agent/wire"
)

// maxRefusal is the most bytes of a refusal that are kept.
const maxRefusal = 400

// attend takes in the shell's output and how it ended, until the channel is closed.
func (t *Terminal) attend(requests <-chan *ssh.Request) {
	var reading sync.WaitGroup
	reading.Go(t.collect)
	status, err := 0, error(nil)
	known, refusal := false, ""
	for r := range requests {
		var exit struct{ Status uint32 }
		var killed struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}
		var refused struct{ Why string }
		switch {
		case r.Type == wire.RefusalRequest && ssh.Unmarshal(r.Payload, &refused) == nil:
			refusal = sentence(refused.Why)
		case r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &exit) == nil:
			status, err, known = int(exit.Status), nil, true
		case r.Type == "exit-signal" && ssh.Unmarshal(r.Payload, &killed) == nil:
			status, err, known = -1, &SignalError{Signal: signalName(killed.Signal)}, true
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // a connection that cannot carry the reply is ending
		}
	}
	reading.Wait()
	t.conn.Close()
	lost := t.conn.Wait()

	t.mu.Lock()
	switch {
	case known && refusal != "":
		err = &RefusedError{Why: refusal}
	case known:
	case !t.closed:
		status, err = -1, fmt.Errorf("%w: %w", ErrLost, lost)
	case t.why != nil:
		status, err = -1, fmt.Errorf("%w: %w", ErrClosed, t.why)
	default:
		status, err = -1, ErrClosed
	}
	t.ended, t.status, t.err = true, status, err
	close(t.done)
	for v := range t.viewers {
		wake(v.wake)
	}
	t.mu.Unlock()
	if err != nil {
		t.log.Info("terminal_ended", "reason", err.Error())
	} else {
		t.log.Info("terminal_ended", "reason", fmt.Sprintf("status %d", status))
	}
}

// sentence returns the words of a device, fit to be shown, logged and kept.
func sentence(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s[:min(len(s), maxRefusal)])
	return strings.TrimSpace(s)
}

// signalName returns a signal's name as a device gave it, if it can be one: it will be shown and logged.
func signalName(s string) string {
	odd := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("@.-+", r)
	}
	if s == "" || len(s) > 32 || strings.ContainsFunc(s, odd) {
		return "unknown"
	}
	return s
}

// collect puts the shell's output into the ring. It waits for nobody: what limits the output is the
// credit that the device has.
func (t *Terminal) collect() {
	buf := make([]byte, maxNext)
	for {
		n, err := t.channel.Read(buf)
		if n > 0 {
			t.echo.answer()
			t.append(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// append adds output and tells the viewers.
func (t *Terminal) append(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring.write(p)
	now := time.Now()
	for v := range t.viewers {
		if v.holdLocked(now) {
			wake(t.moved) // its time runs
		}
		wake(v.wake)
	}
}
