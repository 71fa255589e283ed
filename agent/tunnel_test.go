//go:build linux

package agent_test

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// atOnce is how long a stop may take here. It is promised within a second; the rest
// is for the race detector and whatever else this machine is doing.
const atOnce = 2500 * time.Millisecond

func TestWholeJob(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	if c.hello.Tunnel != "" || c.hello.Dialled != e.address || c.hello.Link != string(wg.Netstack) || c.hello.Version != "test" {
		t.Errorf("hello is %+v", c.hello)
	}
	d.log.expect(t, "msg=agent_connected", "agent=device-1", "addr="+e.address)
	if s := d.Status(); !s.Connected || s.Tunnel != "" || s.Engine != e.address || s.Since.IsZero() || s.LastError != "" {
		t.Errorf("connected status is %+v", s)
	}
	for i, id := range []string{"tunnel-1", "tunnel-2"} { // The second shows that the first left nothing behind.
		o := c.offer(t, id)
		c.up(t, o)
		d.log.expect(t, "msg=tunnel_up", "tunnel="+id)
		if s := d.Status(); s.Tunnel != id {
			t.Errorf("status has tunnel %q, want %q", s.Tunnel, id)
		}
		want := id + " device-1 " + e.address + " " + strconv.Itoa(42+i)
		got := c.run(t, o, "echo $BOREALIS_TUNNEL $BOREALIS_DEVICE $BOREALIS_ENGINE $((42+"+strconv.Itoa(i)+"))")
		if got != want {
			t.Errorf("the shell says %q, want %q", got, want)
		}
		began := time.Now()
		c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: id, Reason: "operator_left"}})
		d.log.expect(t, "msg=tunnel_down", "tunnel="+id, "reason=operator_left")
		if took := time.Since(began); took > atOnce {
			t.Errorf("stopping took %v", took)
		}
		if s := d.Status(); s.Tunnel != "" {
			t.Errorf("after the stop, status has tunnel %q", s.Tunnel)
		}
	}
	if strings.Contains(d.log.String(), "level=ERROR") {
		t.Errorf("the log has errors:\n%s", d.log)
	}
}

func TestNothingIsSentBeforeAdmit(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	listener, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c.ready(t, c.offer(t, "tunnel-1", func(c *token.Claims) { c.Endpoint = listener.LocalAddr().String() }))
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: "another"}})
	packet := make([]byte, 2048)
	listener.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, from, err := listener.ReadFrom(packet); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("before the admit %d bytes come from %v, %v", n, from, err)
	}
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: "tunnel-1"}})
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: "tunnel-1"}}) // Twice is once.
	listener.SetReadDeadline(time.Now().Add(patience))
	n, _, err := listener.ReadFrom(packet)
	if err != nil || n == 0 || packet[0] != 1 {
		t.Errorf("after the admit: %d bytes of type %d, %v; want a handshake initiation", n, packet[0], err)
	}
}

func TestOtherTunnelIsRefusedAsBusy(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	first := c.offer(t, "tunnel-1")
	c.up(t, first)
	second := c.offer(t, "tunnel-2")
	c.send(t, wire.FromEngine{Start: &second.start})
	want := wire.FromAgent{Refused: &wire.Refused{Tunnel: "tunnel-2", Reason: wire.Busy, Detail: "tunnel tunnel-1 is up"}}
	if diff := cmp.Diff(want, c.next(t)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	d.log.expect(t, "msg=tunnel_refused", "tunnel=tunnel-2", "reason=busy")
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-2", Reason: "agent_busy"}}) // Of what never was.
	if got := c.run(t, first, "echo alive"); got != "alive" {
		t.Errorf("the first tunnel's shell says %q", got)
	}
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "operator_left"}})
	c.up(t, second) // Its token was not used up by the refusal.
}

func TestStopAndStartInOneBreath(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	first := c.offer(t, "tunnel-1")
	c.up(t, first)
	for _, id := range []string{"tunnel-2", "tunnel-3", "tunnel-4"} {
		c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: first.start.Tunnel, Reason: "operator_left"}})
		next := c.offer(t, id)
		c.up(t, next)
		if got := c.run(t, next, "echo $BOREALIS_TUNNEL"); got != id {
			t.Errorf("the shell of %s says %q", id, got)
		}
		first = next
	}
}

func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.send(t, wire.FromEngine{Start: &o.start})
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "start_timeout"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=start_timeout")
	next := c.offer(t, "tunnel-2")
	c.send(t, wire.FromEngine{Start: &next.start})
	m := c.next(t)
	if m.Ready != nil && m.Ready.Tunnel == "tunnel-1" { // It was quicker than the stop.
		m = c.next(t)
	}
	if m.Ready == nil || m.Ready.Tunnel != "tunnel-2" {
		t.Errorf("after the stop the agent answers %+v", m)
	}
}

func TestSameStartAgainIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	ready := c.ready(t, o)
	again := func(when string, start wire.Start) {
		t.Helper()
		c.send(t, wire.FromEngine{Start: &start})
		if diff := cmp.Diff(wire.FromAgent{Ready: &ready}, c.next(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	again("before the admit", o.start)
	e.addPeer(t, o, ready)
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: "tunnel-1"}})
	if got := c.run(t, o, "echo up"); got != "up" {
		t.Errorf("the shell says %q", got)
	}
	again("when it is up", o.start)
	again("with another token", c.offer(t, "tunnel-1").start)
	if got := c.run(t, o, "echo still up"); got != "still up" {
		t.Errorf("the shell says %q", got)
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestStopKillsChildrenAtOnce(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	pids, client := stubborn(t, c, o)
	defer client.Close()
	began := time.Now()
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "operator_force_stop"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=operator_force_stop")
	if took := time.Since(began); took > atOnce {
		t.Errorf("stopping took %v", took)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d lives on", pid)
		}
	}
}

// stubborn starts processes in the agent's shell that ignore being asked to end.
func stubborn(t *testing.T, c *channel, o offer) (pids []int, client *ssh.Client) {
	t.Helper()
	client, err := c.dialShell(t, o.shell)
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(`trap "" TERM HUP INT; sh -c 'trap "" TERM HUP INT; echo $$; sleep 1000' & sleep 1000 & echo $! $$ end; wait`); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buffer := make([]byte, 1024)
	for len(strings.Fields(text.String())) < 4 {
		n, err := out.Read(buffer)
		if err != nil {
			t.Fatalf("read pids from %q: %v", text.String(), err)
		}
		text.Write(buffer[:n])
	}
	for word := range strings.FieldsSeq(text.String()) {
		if pid, err := strconv.Atoi(word); err == nil && alive(pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("%d processes live, want 3: %q", len(pids), text.String())
	}
	return pids, client
}

func TestLeaseEndsTheTunnel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	c.up(t, c.offer(t, "tunnel-1"))
	c.send(t, wire.FromEngine{Renew: &wire.Renew{Tunnel: "another", Seconds: 1}})
	c.send(t, wire.FromEngine{Renew: &wire.Renew{Tunnel: "tunnel-1", Seconds: 1}})
	want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "tunnel-1", Reason: wire.LeaseExpired}}
	if diff := cmp.Diff(want, c.next(t)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=agent_lost", "detail=lease_expired")
}

func TestReconnectKeepsTheTunnel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	client, err := c.dialShell(t, o.shell)
	if err != nil {
		t.Fatal(err)
	}
	c.ws.CloseNow()
	d.log.expect(t, "msg=agent_disconnected", "err=")
	again := e.channel(t)
	if again.hello.Tunnel != "tunnel-1" || again.hello.Nonce == c.hello.Nonce {
		t.Errorf("the second hello is %+v, want the tunnel and another nonce", again.hello)
	}
	session, err := client.NewSession() // On the SSH connection from before.
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("echo survived"); err != nil || strings.TrimSpace(string(out)) != "survived" {
		t.Errorf("the shell says %q, %v", out, err)
	}
	old := c.offer(t, "tunnel-2") // Signed for the connection that is gone.
	again.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "operator_left"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=operator_left")
	again.send(t, wire.FromEngine{Start: &old.start})
	if m := again.next(t); m.Refused == nil || m.Refused.Reason != wire.TokenRejected {
		t.Errorf("a token of the connection before is answered by %+v", m)
	}
	again.up(t, again.offer(t, "tunnel-3"))
}

func TestUnadmittedTunnelDiesWithItsChannel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	c.ready(t, c.offer(t, "tunnel-1"))
	c.ws.CloseNow()
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=agent_lost", "detail=channel_lost")
	again := e.channel(t)
	if again.hello.Tunnel != "" {
		t.Errorf("the second hello holds tunnel %q", again.hello.Tunnel)
	}
	if m := again.next(t); m.Stopped == nil || m.Stopped.Tunnel != "tunnel-1" || m.Stopped.Reason != wire.ChannelLost {
		t.Errorf("the engine, which could not be told of the end, is told %+v", m)
	}
	again.up(t, again.offer(t, "tunnel-2"))
}

func TestEngineThatMakesNoSense(t *testing.T) {
	t.Parallel()
	const welcome = `{"welcome":{"device_id":"d","state":"active","server_time":"2026-01-01T00:00:00Z"}}`
	tests := map[string]func(*channel) error{
		"a second welcome": func(c *channel) error {
			return c.ws.Write(t.Context(), websocket.MessageText, []byte(welcome))
		},
		"a binary message": func(c *channel) error {
			return c.ws.Write(t.Context(), websocket.MessageBinary, []byte(`{"admit":{"tunnel":"t"}}`))
		},
		"garbage": func(c *channel) error {
			return c.ws.Write(t.Context(), websocket.MessageText, []byte(`{"admit":{"tunnel":"t"},"do":"it"}`))
		},
		"too much": func(c *channel) error {
			return c.ws.Write(t.Context(), websocket.MessageText, make([]byte, wire.MaxMessage+1))
		},
	}
	for name, do := range tests {
		e := newEngine(t)
		d := newDevice(t, e)
		c := e.channel(t)
		if err := do(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.ended(t); name == "too much" && websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("%s: the channel ended with %v", name, err)
		}
		d.log.expect(t, "msg=agent_disconnected", "err=")
		e.channel(t) // It comes back.
	}
}

func TestShutdownSaysGoodbye(t *testing.T) {
	// Not parallel: what other tests start would count as left behind.
	e := newEngine(t)
	engineAlone := goleak.IgnoreCurrent()
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	pids, client := stubborn(t, c, o)
	defer client.Close()
	began := time.Now()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > atOnce {
		t.Errorf("stopping took %v", took)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d lives on", pid)
		}
	}
	want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "tunnel-1", Reason: wire.AgentShutdown}}
	if diff := cmp.Diff(want, c.next(t)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if err := c.ended(t); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the channel ended with %v, want going away", err)
	}
	d.log.expect(t, "msg=tunnel_down", "reason=agent_shutdown")
	d.log.expect(t, "msg=agent_disconnected", "reason=agent_shutdown")
	if s := d.Status(); s.Connected || s.Tunnel != "" {
		t.Errorf("status is %+v", s)
	}
	// After a restart the tunnel stays down until it is asked for.
	d.run(t)
	if again := e.channel(t); again.hello.Tunnel != "" {
		t.Errorf("after the restart the agent holds %q", again.hello.Tunnel)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := e.link.SetPeers(nil); err != nil { // A peer has goroutines of its own.
		t.Fatal(err)
	}
	goleak.VerifyNone(t, engineAlone)
}
