package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/limits"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// silent returns an agent without an engine.
func silent(t *testing.T) *Agent {
	t.Helper()
	id, err := keys.NewIdentity("agent")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := keys.NewIdentity("engine")
	if err != nil {
		t.Fatal(err)
	}
	return &Agent{
		plane: &dataplane{mode: wg.Netstack}, limits: &limits.Policy{},
		keys:   &keys.Agent{Identity: id, Address: "engine.invalid:8443"},
		engine: engine.Pin(),
		log:    slog.New(slog.DiscardHandler),
	}
}

// startOf returns a connection and a start for a that passes on it.
func startOf(t *testing.T, a *Agent, tunnel string) (*connection, wire.Start) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	psk, err := wgtypes.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{
		hello: wire.Hello{Nonce: "nonce"}, welcome: wire.Welcome{ServerTime: time.Now()}, at: time.Now(),
		identity:  public, // One key does for both here.
		tokenKeys: map[string]ed25519.PublicKey{"kid": public},
	}
	tok, err := token.Sign(private, "kid", token.Claims{
		Engine: keys.PinOf(public), Agent: a.keys.Identity.Pin(), Tunnel: tunnel, ID: rand.Text(), Nonce: "nonce",
		IssuedAt: time.Now(), ServerKey: psk, Endpoint: "127.0.0.1:9", Idle: time.Minute, ShellKey: public,
		VirtualIP: netip.MustParseAddr("10.255.0.2"), EngineIP: netip.MustParseAddr("10.255.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, wire.Start{Tunnel: tunnel, Token: tok, PresharedKey: psk.String()}
}

func TestTunnelWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := silent(t)
		gone := make(chan struct{})
		a.current = &session{id: "before", ending: true, done: gone}
		c, m := startOf(t, a, "after")
		a.start(t.Context(), c, m)
		s := a.current
		if s.id != "after" {
			t.Fatalf("the current tunnel is %s", s.id)
		}
		a.stop("after", "operator_left") // So that it opens nothing.
		synctest.Wait()
		select {
		case <-s.done:
			t.Error("it did not wait")
		default:
		}
		close(gone)
		a.tunnels.Wait()
		<-s.done
		if a.current != nil {
			t.Errorf("current is %v", a.current)
		}
	})
}

func TestNothingStartsWhileStopping(t *testing.T) {
	t.Parallel()
	a := silent(t)
	a.shutDown()
	out := make(chan wire.FromAgent, 1)
	a.out = out
	c, m := startOf(t, a, "late")
	a.start(t.Context(), c, m)
	want := wire.FromAgent{Refused: &wire.Refused{Tunnel: "late", Reason: wire.StartFailed, Detail: "the agent is stopping"}}
	if diff := cmp.Diff(want, <-out); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if a.current != nil {
		t.Errorf("current is %v", a.current)
	}
}

func TestStartThatFailsIsRefused(t *testing.T) {
	t.Parallel()
	a := silent(t)
	out := make(chan wire.FromAgent, 2)
	a.out = out
	s := &session{id: "t", done: make(chan struct{}), end: func() {}, lease: newLease(func(string) {})}
	s.claims.Endpoint = "no-such-host.invalid:1"
	a.current = s
	a.hold(t.Context(), s)
	m := <-out
	if m.Refused == nil || m.Refused.Reason != wire.StartFailed || !strings.Contains(m.Refused.Detail, "endpoint") {
		t.Errorf("the agent says %+v, want start_failed", m)
	}
	if a.current != nil || len(out) != 0 {
		t.Errorf("current is %v and %d more messages wait", a.current, len(out))
	}
}

func TestAdmitNeedsReady(t *testing.T) {
	t.Parallel()
	a := silent(t)
	s := &session{id: "t", admit: make(chan struct{})}
	a.current = s
	a.admit("t")
	if s.admitted {
		t.Error("admitted before it was ready")
	}
	s.ready = new(wire.Ready)
	a.admit("other")
	if s.admitted {
		t.Error("admitted by another tunnel's name")
	}
	a.admit("t")
	if !s.admitted {
		t.Error("not admitted")
	}
	s.ending = true
	a.admit("t") // Closing the channel twice would panic.
}

func TestAttach(t *testing.T) {
	t.Parallel()
	hung := func(error) {}
	t.Run("the held tunnel lives on", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := silent(t)
			s := &session{id: "t", admitted: true, end: func() {}}
			s.lease = newLease(func(reason string) { a.finish(s, reason) })
			defer s.lease.stop()
			a.current = s
			s.lease.lost()
			<-time.After(wire.ChannelGrace - time.Second)
			out := make(chan wire.FromAgent, 1)
			a.attach(&connection{hello: wire.Hello{Tunnel: "t"}}, out, hung)
			a.renew("t", wire.Lease)
			<-time.After(wire.Lease - time.Second)
			synctest.Wait()
			if s.ending || len(out) != 0 {
				t.Errorf("it ends with %q; %d messages", s.reason, len(out))
			}
		})
	})
	tests := map[string]struct {
		last wire.Stopped
		want string
	}{
		"it ended meanwhile":           {wire.Stopped{Tunnel: "t", Reason: wire.LeaseExpired}, wire.LeaseExpired},
		"something else ended earlier": {wire.Stopped{Tunnel: "s", Reason: wire.LeaseExpired}, wire.LinkFailed},
	}
	for name, tt := range tests {
		a := silent(t)
		a.last, a.unsettled = tt.last, tt.last.Tunnel == "t"
		out := make(chan wire.FromAgent, 2)
		a.attach(&connection{hello: wire.Hello{Tunnel: "t"}}, out, hung)
		close(out)
		want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "t", Reason: tt.want}}
		if diff := cmp.Diff(want, <-out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestEngineSetsAnEndRight: what ended while nobody could be told is told on the next channel, and when the
// engine has another reason on record, that stands in the log too.
func TestEngineSetsAnEndRight(t *testing.T) {
	t.Parallel()
	a := silent(t)
	var log bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&log, nil))
	s := &session{id: "t", ready: new(wire.Ready), end: func() {}}
	s.lease = newLease(func(reason string) { a.finish(s, reason) })
	a.current = s
	a.finish(s, wire.ChannelLost)
	a.over(s, nil)
	out := make(chan wire.FromAgent, 1)
	a.attach(new(connection), out, func(error) {})
	want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "t", Reason: wire.ChannelLost}}
	if diff := cmp.Diff(want, <-out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a.stop("t", "agent_lost") // as the agent has it
	if strings.Contains(log.String(), "tunnel_recorded") || !strings.Contains(log.String(), "reason=agent_lost detail=channel_lost") {
		t.Errorf("the log has %s", log.String())
	}
	a.stop("t", "engine_restart")
	a.stop("another", "engine_restart")
	if n := strings.Count(log.String(), "msg=tunnel_recorded tunnel=t reason=engine_restart"); n != 1 || strings.Contains(log.String(), "another") {
		t.Errorf("the log has %s", log.String())
	}
	a.attach(new(connection), out, func(error) {})
	if len(out) != 0 {
		t.Error("the engine is told twice")
	}
}

// TestEndWhileTheChannelComesBack: what ends just then is told once, for the reason that it ends for,
// and not as something that nobody knows.
func TestEndWhileTheChannelComesBack(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]string{"by itself": "", "and the engine ends it too": "idle_timeout"} {
		a := silent(t)
		var log bytes.Buffer
		a.log = slog.New(slog.NewTextHandler(&log, nil))
		s := &session{id: "t", ready: new(wire.Ready), admitted: true, end: func() {}}
		s.lease = newLease(func(reason string) { a.finish(s, reason) })
		a.current = s
		a.finish(s, wire.PolicyEnded)
		out := make(chan wire.FromAgent, 2)
		a.attach(&connection{hello: wire.Hello{Tunnel: "t"}}, out, func(error) {})
		if len(out) != 0 {
			t.Errorf("%s: before it is over the engine is told %+v", name, (<-out).Stopped)
		}
		want := []wire.FromAgent{{Stopped: &wire.Stopped{Tunnel: "t", Reason: wire.PolicyEnded}}}
		reason := wire.PolicyEnded
		if told != "" {
			a.stop("t", told)
			want, reason = nil, told
		}
		a.over(s, nil)
		close(out)
		var got []wire.FromAgent
		for m := range out {
			got = append(got, m)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !strings.Contains(log.String(), "msg=tunnel_down tunnel=t reason="+reason) {
			t.Errorf("%s: the log has %s", name, log.String())
		}
	}
}

// TestLastWordOfTheEngine: what it says about a tunnel that the agent's own end took is in the log, and
// there is nothing left to ask.
func TestLastWordOfTheEngine(t *testing.T) {
	t.Parallel()
	a := silent(t)
	var log bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&log, nil))
	s := &session{id: "t", ready: new(wire.Ready), end: func() {}}
	s.lease = newLease(func(string) {})
	a.current = s
	a.finish(s, wire.AgentShutdown)
	a.over(s, nil)
	if log.Len() != 0 || a.Status().Ended == nil {
		t.Errorf("before the word the log has %s, and %+v is to be asked", log.String(), a.Status().Ended)
	}
	a.stop("t", "idle_timeout")
	a.part()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "msg=tunnel_down tunnel=t reason=idle_timeout") {
		t.Errorf("the log has %s", log.String())
	}
	if ended := a.Status().Ended; ended != nil {
		t.Errorf("%+v is to be asked", ended)
	}
}

// TestTunnelOfADeadAgent: the next agent says in its log, and to the engine, what became of it.
func TestTunnelOfADeadAgent(t *testing.T) {
	t.Parallel()
	a := silent(t)
	a.data = t.TempDir()
	if err := os.MkdirAll(filepath.Dir(statusFile(a.data)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Status{Tunnel: "t"}).write(statusFile(a.data)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&log, nil))
	a.bury()
	if !strings.Contains(log.String(), "msg=tunnel_down tunnel=t reason=agent_lost") || !a.unsettled || a.last.Tunnel != "t" {
		t.Errorf("the log has %s, and the engine would be told of %+v", log.String(), a.last)
	}
	if err := (Status{}).write(statusFile(a.data)); err != nil {
		t.Fatal(err)
	}
	b := silent(t)
	b.data = a.data
	if b.bury(); b.unsettled {
		t.Error("an agent without a tunnel has lost one")
	}
	if err := (Status{Ended: &wire.Stopped{Tunnel: "\x00", Reason: wire.LinkFailed}}).write(statusFile(a.data)); err != nil {
		t.Fatal(err)
	}
	if b.bury(); b.unsettled {
		t.Errorf("the engine would be told of %q, which ends the channel", b.last.Tunnel)
	}
}

func TestEngineThatDoesNotReadIsHungUpOn(t *testing.T) {
	t.Parallel()
	a := silent(t)
	var why error
	out := make(chan wire.FromAgent, 1)
	a.attach(new(connection), out, func(err error) { why = err })
	for range 2 {
		a.refuse("t", wire.Busy, errors.New("busy"))
	}
	if why == nil || len(out) != 1 {
		t.Errorf("after more than fits: %v, %d wait", why, len(out))
	}
}

func TestPinnedTakesNothingElse(t *testing.T) {
	t.Parallel()
	id, err := keys.NewIdentity("engine")
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.NewIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	two := id.TLS()
	two.Certificate = append(two.Certificate, other.TLS().Certificate[0])
	tests := []struct {
		name   string
		server *tls.Config
		want   string // "" for success.
	}{
		{"the engine", &tls.Config{Certificates: []tls.Certificate{id.TLS()}}, ""},
		{"another key", &tls.Config{Certificates: []tls.Certificate{other.TLS()}}, other.Pin().String()},
		{"two certificates", &tls.Config{Certificates: []tls.Certificate{two}}, "2 certificates"},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{id.TLS()}, MaxVersion: tls.VersionTLS12}, "protocol version"},
	}
	for _, tt := range tests {
		here, there := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() {
			s := tls.Server(there, tt.server)
			if s.HandshakeContext(t.Context()) == nil {
				s.Read(make([]byte, 1))
			}
			there.Close()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := tls.Client(here, pinned(wire.ServerName, "engine:1", other, []keys.Pin{id.Pin()})).HandshakeContext(ctx)
		cancel()
		here.Close()
		serving.Wait()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
