package agent_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"borealis/agent"
	"borealis/agent/wire"
)

// way is the way to an engine, which can go dead as it does when a device sleeps or changes
// its network: nothing comes through any more, and nobody says so.
type way struct {
	listener net.Listener
	engine   string
	work     sync.WaitGroup
	came     chan struct{} // One for each connection.

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

// newWay opens a way to an engine.
func newWay(t *testing.T, engine string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: l, engine: engine, came: make(chan struct{}, 64)}
	w.work.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		conns := slices.Clone(w.conns)
		w.mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
		w.work.Wait()
	})
	return w
}

// address is where the way begins.
func (w *way) address() string { return w.listener.Addr().String() }

// die makes the way dead for all connections that there are, and those to come; or alive
// again, for those to come.
func (w *way) die(dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = dead
}

func (w *way) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.conns = append(w.conns, c)
		dead := w.dead
		w.mu.Unlock()
		w.came <- struct{}{}
		if dead {
			continue // It stays open, and silent.
		}
		e, err := net.Dial("tcp", w.engine)
		if err != nil {
			c.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, e)
		w.mu.Unlock()
		w.work.Go(func() { w.carry(e, c) })
		w.work.Go(func() { w.carry(c, e) })
	}
}

// carry carries one direction. On a dead way it swallows all, the end too.
func (w *way) carry(to, from net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		dead := w.dead
		w.mu.Unlock()
		if err != nil {
			if !dead || errors.Is(err, net.ErrClosed) {
				to.Close()
			}
			return
		}
		if dead {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// TestNudgeFindsADeadConnection and one that only seems to come about, as after a sleep.
func TestNudgeFindsADeadConnection(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	w := newWay(t, e.address)
	d := &device{data: t.TempDir(), log: newJournal()}
	code := wire.Code{Address: w.address(), Pin: e.keys.Identity.Pin(), Secret: wire.NewSecret()}
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String()}); err != nil {
		t.Fatal(err)
	}
	<-w.came
	d.run(t)
	e.channel(t)
	<-w.came
	d.log.expect(t, "msg=agent_connected")

	d.Nudge("nothing happened")
	d.log.expect(t, "msg=agent_nudged", `reason="nothing happened"`)
	if s := d.Status(); !s.Connected {
		t.Errorf("after a nudge for nothing: %+v", s)
	}

	w.die(true)
	d.Nudge("the device woke up")
	d.log.expect(t, "msg=agent_disconnected", "the way to the engine has changed")
	<-w.came // It dials, and nobody answers.
	w.die(false)
	d.Nudge("the network is back")
	e.channel(t)
	if strings.Contains(d.log.String(), "msg=agent_unreachable") {
		t.Errorf("the dial that nobody answered was not given up:\n%s", d.log)
	}
}
