package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/wg"
)

func TestConnectToEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))

	var steps []string
	for _, s := range st.Timeline {
		steps = append(steps, s.Name)
	}
	if diff := cmp.Diff([]string{"requested", "offered", "ready", "peered", "up"}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if st.LastHandshake.IsZero() || st.ReceivedBytes == 0 || st.AgentPublicKey == "" || st.VirtualIP != netip.MustParseAddr("10.255.0.2") {
		t.Errorf("an up tunnel says %+v", st)
	}
	if n := r.peers(t); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
	if got := run(t, r, st.TunnelID, "echo $((6*7))"); !strings.Contains(got, "42") {
		t.Errorf("the shell says %q", got)
	}

	ended, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false)
	if err != nil || ended.State != Ended || ended.Reason != OperatorDisconnect {
		t.Fatalf("after Disconnect: %+v, %v", ended, err)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers are left", n)
	}
	if err := r.guard.Check(acl.TCP, netip.AddrPortFrom(st.VirtualIP, wire.ShellPort)); !errors.Is(err, acl.ErrRefused) {
		t.Errorf("the port is still open: %v", err)
	}
	if got := r.ending(t, st.TunnelID); got != OperatorDisconnect {
		t.Errorf("stored reason %q", got)
	}
	wantActivity(t, r, h.device.ID, "device_enrolled", "agent_online", "tunnel_requested", "tunnel_up",
		"terminal_opened", "terminal_closed", "operator_left", "tunnel_down")

	again := r.up(t, h, holder("nora"))
	if again.TunnelID == st.TunnelID || again.VirtualIP != st.VirtualIP {
		t.Errorf("second tunnel %s at %s, first %s at %s: want a new id and the same address", again.TunnelID, again.VirtualIP, st.TunnelID, st.VirtualIP)
	}
}

// run types a line in a new terminal and returns what it shows.
func run(t *testing.T, r *rig, tunnelID, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	term, resumed, err := r.Terminal(ctx, holder("nora"), TerminalRequest{TunnelID: tunnelID, Cols: 80, Rows: 24})
	if err != nil || resumed {
		t.Fatalf("open a terminal: resumed %v, %v", resumed, err)
	}
	v := term.View(-1)
	defer v.Close()
	if _, err := term.Write([]byte(line + "; exit\n")); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for {
		p, offset, err := v.Next(ctx)
		all.Write(p)
		if err != nil {
			break
		}
		v.Ack(offset + int64(len(p)))
	}
	r.until(t, func() bool {
		return len(r.records(t, store.RecordQuery{TunnelID: tunnelID, Kind: "terminal_closed"})) > 0
	})
	return all.String()
}

func wantActivity(t *testing.T, r *rig, deviceID string, want ...string) {
	t.Helper()
	var got []string
	for _, a := range r.records(t, store.RecordQuery{DeviceID: deviceID}) {
		got = append(got, a.Kind)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
}

func TestFiftyConnectsMakeOneTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		ids  = make(map[string]int)
		made int
	)
	for range 50 {
		work.Go(func() {
			st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[st.TunnelID]++
			if !st.Joined {
				made++
			}
		})
	}
	work.Wait()
	if len(ids) != 1 || made != 1 {
		t.Fatalf("%d tunnels, made by %d callers; want one", len(ids), made)
	}
	r.up(t, h, holder("nora"))
	if n := r.peers(t); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
}

func TestOperatorsShareATunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	first := r.up(t, h, holder("nora"))
	second, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{})
	if err != nil || !second.Joined || second.TunnelID != first.TunnelID || len(second.Operators) != 2 {
		t.Fatalf("second operator: %+v, %v", second, err)
	}
	_, err = r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{New: true})
	var active *ActiveError
	if !errors.As(err, &active) || active.TunnelID != first.TunnelID || !errors.Is(err, ErrActive) {
		t.Errorf("an explicit new tunnel: %v", err)
	}
	st, err := r.Disconnect(t.Context(), first.TunnelID, holder("nora"), false)
	if err != nil || !st.Up() || len(st.Operators) != 1 || st.Operators[0].Name != "jon" {
		t.Fatalf("after the first one left: %+v, %v", st, err)
	}
	st, err = r.Disconnect(t.Context(), first.TunnelID, holder("jon"), false)
	if err != nil || st.State != Ended {
		t.Fatalf("after the last one left: %+v, %v", st, err)
	}
	if _, err := r.Disconnect(t.Context(), first.TunnelID, holder("jon"), false); !errors.Is(err, ErrNotConnected) {
		t.Errorf("a second Disconnect: %v", err)
	}
}

func TestForceStopsForEveryone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	ended, err := r.Disconnect(t.Context(), st.TunnelID, holder("jon"), true)
	if err != nil || ended.Reason != OperatorForceStop {
		t.Fatalf("%+v, %v", ended, err)
	}
}

func TestConnectRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	if _, err := r.Connect(t.Context(), "no-such-device", holder("nora"), ConnectOptions{}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	h.drop()
	_, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	var offline *OfflineError
	if !errors.As(err, &offline) || offline.LastSeen.IsZero() || !errors.Is(err, ErrOffline) {
		t.Errorf("offline device: %v", err)
	}
	h.online("")
	pending, _ := r.device(t, "new PC", func(c *store.Code) { c.AutoApprove = false })
	if _, err := r.Connect(t.Context(), pending.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrPending) {
		t.Errorf("pending device: %v", err)
	}
	for state, want := range map[string]error{"revoked": ErrRevoked, "quarantined": ErrRevoked} {
		if err := r.store.SetDeviceState(t.Context(), h.device.ID, state, time.Now(), store.Record{Actor: "admin"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, want) {
			t.Errorf("%s device: %v", state, err)
		}
	}
}

func TestPortInUseLeavesTheRestUp(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	r := newRig(t, func(c *Config) { c.Link.ListenPort = port })
	h := r.join(t)
	if _, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "used by ") {
		t.Errorf("connect: %v", err)
	}
	if l := r.Link(); !errors.Is(l.Err, ErrUnavailable) || l.Port != port {
		t.Errorf("link: %+v", l)
	}
}

func TestIdleEndsTheTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Idle = time.Second })
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	if got := r.ending(t, st.TunnelID); got != IdleTimeout {
		t.Errorf("reason %q", got)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers are left", n)
	}
}

func TestAgentLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*host){
		"killed":    func(h *host) { h.drop(); h.closeTunnel() },
		"restarted": func(h *host) { h.drop(); h.closeTunnel(); h.online("") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.join(t)
			st := r.up(t, h, holder("nora"))
			lose(h)
			if got := r.ending(t, st.TunnelID); got != AgentLost {
				t.Errorf("reason %q", got)
			}
			if n := r.peers(t); n != 0 {
				t.Errorf("%d peers are left", n)
			}
		})
	}
}

func TestTunnelSurvivesAFlap(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	h.drop()
	h.online(st.TunnelID)
	if got := run(t, r, st.TunnelID, "echo still $((40+2))"); !strings.Contains(got, "still 42") {
		t.Errorf("the shell says %q", got)
	}
}

func TestAgentIsToldToDropATunnelThatEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	h.drop()
	h.online("a-tunnel-of-the-past")
	st := r.up(t, h, holder("nora")) // the stop was sent before this offer
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stops) != 1 || h.stops[0].Tunnel != "a-tunnel-of-the-past" {
		t.Errorf("stops %+v of %s", h.stops, st.TunnelID)
	}
}

func TestRestartClosesWhatWasOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	now := time.Now()
	row := store.Tunnel{ID: "0198c0de-0000-7000-8000-000000000000", DeviceID: d.ID, TokenID: "jti", VirtualIP: netip.MustParseAddr("10.255.0.2"), State: "up", RequestedAt: now}
	if err := r.store.AddTunnel(t.Context(), row, now.Add(time.Minute), store.Record{At: now, DeviceID: d.ID, TunnelID: row.ID, Kind: "tunnel_requested"}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), Config{Store: r.store, Keys: r.keys, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	st, err := again.Status(t.Context(), d.ID)
	if err != nil || st.State != Ended || st.Reason != EngineRestart {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestCloseTellsTheAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	r.Close()
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	want := []wire.Stop{{Tunnel: st.TunnelID, Reason: string(EngineShutdown)}}
	if diff := cmp.Diff(want, h.stops); diff != "" {
		t.Errorf("stops (-want +got):\n%s", diff)
	}
	if got := r.ending(t, st.TunnelID); got != EngineShutdown {
		t.Errorf("reason %q", got)
	}
	r.Close() // twice is fine
}

func TestClosedTabLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	who := holder("nora")
	who.Tab = "tab-1"
	st := r.up(t, h, who)
	r.releaseTab("another-tab")
	if now, err := r.Status(t.Context(), h.device.ID); err != nil || len(now.Operators) != 1 {
		t.Fatal("the wrong tab was released")
	}
	r.releaseTab("tab-1")
	if got := r.ending(t, st.TunnelID); got != OperatorLeft {
		t.Errorf("reason %q", got)
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	for pool, want := range map[string]string{"10.255.0.0/16": "10.255.0.1", "10.9.9.77/24": "10.9.9.1", "10.0.0.0/31": "", "fd00::/64": ""} {
		got, err := engineAddress(netip.MustParsePrefix(pool))
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%s: %s, %v; want %q", pool, got, err, want)
		}
	}
}
