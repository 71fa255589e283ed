//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg/nstest"
)

// TestEveryEndIsToldEverywhere ends a tunnel for every reason that there is, with real programs, and then
// joins the four places where it stands: the engine's log, the agent's log, Device Activity,
// and the audit trail. In all of them stands the same reason.
func TestEveryEndIsToldEverywhere(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	r := &reasons{fleet: newFleet(t, "--link", "tun", "--step-up", "never"), ended: make(map[string]ending)}
	r.a, r.b = r.agents[0], r.agents[1]

	r.live(t, tunnel.OperatorDisconnect, r.a, func(c *client) { c.disconnect(t, "") })
	r.live(t, tunnel.OperatorForceStop, r.a, func(c *client) { c.disconnect(t, "&force=true") })
	r.live(t, tunnel.DeviceLocked, r.a, func(*client) { r.run("device", "lock", r.a.device, "--reason", "a test", "--data", r.data) })
	r.run("device", "unlock", r.a.device, "--data", r.data)
	r.operatorLocked(t)
	policy := filepath.Join(r.a.data, "Agent", "policy.json")
	r.live(t, tunnel.LocalPolicy, r.a, func(*client) { put(t, policy, "{") }) // what makes no sense allows nothing
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	r.live(t, tunnel.AgentShutdown, r.a, func(*client) { _ = r.a.process.Signal(syscall.SIGTERM) })
	<-r.a.process.Done()
	r.startAgent(r.a)
	r.live(t, tunnel.AgentLost, r.a, func(*client) { r.a.stop() })
	r.startAgent(r.a)
	r.live(t, tunnel.InternalError, r.a, func(*client) { r.here("ip", "link", "del", "borealis0") })
	r.slowOnes(t)
	r.live(t, tunnel.EngineShutdown, r.a, func(*client) { r.stopEngine(t); r.startEngine(); r.agentsOnline(t) })
	r.live(t, tunnel.EngineRestart, r.a, func(*client) {
		_ = r.engine.Signal(syscall.SIGKILL)
		<-r.engine.Done()
		r.startEngine()
		r.agentsOnline(t)
	})
	r.restart(t, "--idle", "2s")
	r.live(t, tunnel.IdleTimeout, r.a, func(*client) {})
	r.restart(t, "--max-duration", "2s")
	r.live(t, tunnel.MaxDuration, r.a, func(*client) {})
	r.firewallLost(t)
	r.refusals(t)
	r.live(t, tunnel.DeviceRevoked, r.a, func(*client) { r.run("device", "revoke", r.a.device, "--data", r.data) })
	r.joined(t)
}

// An ending is what became of a tunnel.
type ending struct {
	reason tunnel.Reason
	agent  *machine // nil for one that is simulated
}

type reasons struct {
	*fleet
	a, b  *machine
	ended map[string]ending // by the tunnel's id
}

// restart starts the engine anew, with other flags.
func (r *reasons) restart(t *testing.T, flags ...string) {
	t.Helper()
	r.stopEngine(t)
	r.serve = append([]string{"--link", "tun", "--step-up", "never"}, flags...)
	r.startEngine()
	r.agentsOnline(t)
}

// connected is a client with a tunnel to a machine, and the tunnel's id.
func (r *reasons) connected(t *testing.T, m *machine) (*client, string) {
	t.Helper()
	c := newClient(t, r.client.base, r.client.token)
	c.device = m.device
	var st tunnelState
	r.eventually("a tunnel to be possible", func() bool {
		return c.do(t.Context(), http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": m.device}, &st) == http.StatusOK
	})
	return c, st.TunnelID
}

// live brings a tunnel up, ends it, and notes for what reason it should have ended.
func (r *reasons) live(t *testing.T, want tunnel.Reason, m *machine, finish func(*client)) {
	t.Helper()
	c, id := r.connected(t, m)
	c.untilUp(t.Context())
	finish(c)
	r.over(t, want, m, id)
}

// over waits for the end of a tunnel.
func (r *reasons) over(t *testing.T, want tunnel.Reason, m *machine, id string) {
	t.Helper()
	c := newClient(t, r.client.base, r.client.token) // the engine may be another one by now
	c.device = m.device
	st := c.until(t.Context(), string(want), func(st tunnelState) bool { return st.State == "ended" && st.TunnelID == id })
	if st.Reason != string(want) {
		t.Errorf("the tunnel that should end as %s ended as %s", want, st.Reason)
	}
	r.ended[id] = ending{want, m}
}

// disconnect ends the client's part in a tunnel, or with more the whole of it.
func (c *client) disconnect(t *testing.T, more string) {
	t.Helper()
	if code := c.do(t.Context(), http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device+more, nil, nil); code != http.StatusOK {
		t.Fatalf("disconnect: %d", code)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// operatorLocked locks the only operator of a tunnel.
func (r *reasons) operatorLocked(t *testing.T) {
	t.Helper()
	r.run("operator", "add", "jon", "--data", r.data)
	jon := newClient(t, r.client.base, strings.TrimSpace(r.run("token", "new", "--operator", "jon", "--data", r.data)))
	jon.device = r.a.device
	id := jon.connect(t.Context()).TunnelID
	jon.untilUp(t.Context())
	r.run("operator", "lock", "jon", "--reason", "a test", "--data", r.data)
	r.over(t, tunnel.OperatorLocked, r.a, id)
}

// slowOnes are the ends that take their time, of two agents at once: a page that goes without a word, an
// agent that does not answer, and packets that do not arrive.
func (r *reasons) slowOnes(t *testing.T) {
	t.Helper()
	words := strings.Fields(r.run("operator", "add", "kim", "--data", r.data))
	password := words[len(words)-1]
	script, left := r.connected(t, r.b)
	script.untilUp(t.Context())
	page := newClient(t, r.client.base, "")
	page.device = r.b.device
	page.signIn(t.Context(), "kim", password)
	w := page.terminal(t.Context(), "", -1)
	script.disconnect(t, "") // the page stays
	w.conn.CloseNow()        // and goes

	if err := r.a.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, silent := r.connected(t, r.a)
	r.over(t, tunnel.StartTimeout, r.a, silent)
	if err := r.a.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.over(t, tunnel.OperatorLeft, r.b, left)
	r.agentsOnline(t)

	r.a.host.Output(t, "iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "30000", "-j", "DROP")
	_, blocked := r.connected(t, r.a)
	r.over(t, tunnel.HandshakeTimeout, r.a, blocked)
	r.a.host.Output(t, "iptables", "-F", "OUTPUT")
}

// broken stands before iptables-nft-restore, and fails while a file is there.
const broken = `#!/bin/sh
[ -e "$BROKEN" ] && exit 4
exec /usr/sbin/iptables-nft-restore "$@"
`

// firewallLost takes the rules away in a way that cannot be mended.
func (r *reasons) firewallLost(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "iptables-nft-restore"), []byte(broken), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iptables-nft", "iptables-nft-save"} {
		if err := os.Symlink("/usr/sbin/"+name, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"BROKEN": filepath.Join(bin, "broken"), "PATH": bin + ":" + os.Getenv("PATH")} {
		if err := os.Setenv(name, value); err != nil { // this test has a process of its own
			t.Fatal(err)
		}
	}
	r.restart(t)
	r.live(t, tunnel.FirewallLost, r.a, func(*client) {
		put(t, filepath.Join(bin, "broken"), "")
		r.here("iptables", "-F")
	})
	if err := os.Remove(filepath.Join(bin, "broken")); err != nil {
		t.Fatal(err)
	}
	r.restart(t)
}

// refusals are what an agent answers to an offer when there is something wrong that the real one, with
// this engine, does not get to: its own tests have how it comes to say so.
func (r *reasons) refusals(t *testing.T) {
	t.Helper()
	id, err := keys.NewIdentity("sim")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), engine.Root(r.data).Database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	code := store.Code{Uses: 1, AutoApprove: true, CreatedBy: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	if _, err := db.AddCode(t.Context(), [32]byte{7}, code, store.Record{}); err != nil {
		t.Fatal(err)
	}
	d, err := db.RedeemCode(t.Context(), [32]byte{7}, store.Device{Hostname: "sim", OS: "linux", Pin: id.Pin().String()}, now, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
	var shown struct{ Pin string }
	if err := json.Unmarshal([]byte(r.run("keys", "show", "--json", "--data", r.data)), &shown); err != nil {
		t.Fatal(err)
	}
	pin, err := keys.ParsePin(shown.Pin)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 2)
	sim := &simAgent{engine: "127.0.0.1:8443", pin: pin, from: netip.MustParseAddr("127.0.0.1"), identity: id, machine: "sim"}
	sim.said = func(m wire.FromEngine) *wire.FromAgent {
		if m.Start == nil {
			return nil
		}
		return &wire.FromAgent{Refused: &wire.Refused{Tunnel: m.Start.Tunnel, Reason: <-answers, Detail: "the test says so"}}
	}
	done := make(chan error, 1)
	go func() { done <- sim.once(t.Context()) }()
	m := &machine{device: d.ID}
	r.eventually("the simulated agent", func() bool {
		var d struct{ Online bool }
		r.client.do(t.Context(), http.MethodGet, "/api/devices/"+m.device, nil, &d)
		return d.Online
	})
	for said, want := range map[string]tunnel.Reason{wire.Busy: tunnel.AgentBusy, wire.TokenRejected: tunnel.TokenRejected} {
		answers <- said
		_, id := r.connected(t, m)
		r.over(t, want, m, id)
		r.ended[id] = ending{want, nil}
	}
	r.run("device", "revoke", d.ID, "--data", r.data)
	<-done
}

// everyReason is the closed set.
var everyReason = []tunnel.Reason{
	tunnel.OperatorDisconnect, tunnel.OperatorLeft, tunnel.OperatorForceStop, tunnel.IdleTimeout, tunnel.MaxDuration, tunnel.AgentLost,
	tunnel.AgentShutdown, tunnel.AgentBusy, tunnel.TokenRejected, tunnel.LocalPolicy, tunnel.StartTimeout, tunnel.HandshakeTimeout,
	tunnel.DeviceRevoked, tunnel.DeviceLocked, tunnel.OperatorLocked, tunnel.EngineShutdown, tunnel.EngineRestart, tunnel.FirewallLost,
	tunnel.InternalError,
}

// joined looks for each tunnel in the four places, the last of which are written when everybody was told.
func (r *reasons) joined(t *testing.T) {
	t.Helper()
	for _, reason := range everyReason {
		if !slices.ContainsFunc(slices.Collect(maps.Values(r.ended)), func(e ending) bool { return e.reason == reason }) {
			t.Errorf("no tunnel ended as %s", reason)
		}
	}
	var wrong []string
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(usual); ; {
		if wrong = r.disagreements(t); len(wrong) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("the four places do not agree:\n%s", strings.Join(wrong, "\n"))
			return
		}
	}
}

// disagreements says where a tunnel has ended for another reason than it should, or has not.
func (r *reasons) disagreements(t *testing.T) (wrong []string) {
	t.Helper()
	activity := make(map[string]string)
	for _, device := range []string{r.a.device, r.b.device, ""} {
		var all struct {
			Activity []struct {
				Kind, Reason string
				Tunnel       string `json:"tunnel_id"`
			}
		}
		r.client.do(t.Context(), http.MethodGet, "/api/activity?limit=500&device_id="+device, nil, &all)
		for _, e := range all.Activity {
			if e.Kind == "tunnel_down" {
				activity[e.Tunnel] = e.Reason
			}
		}
	}
	trail := make(map[string]string)
	for line := range strings.Lines(r.run("audit", "export", "--data", r.data)) {
		var e struct {
			Kind, Reason string
			Tunnel       string `json:"tunnel_id"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == "tunnel_down" {
			trail[e.Tunnel] = e.Reason
		}
	}
	engine := logOf(t, engine.Root(r.data).Log())
	for id, e := range r.ended {
		want := string(e.reason)
		if activity[id] != want || trail[id] != want {
			wrong = append(wrong, fmt.Sprintf("%s: the activity says %q, the audit trail %q", want, activity[id], trail[id]))
		}
		if got := said(engine, id); !slices.Equal(got, []string{want}) {
			wrong = append(wrong, fmt.Sprintf("%s: the engine's log says %q", want, got))
		}
		if e.agent == nil {
			continue
		}
		log := logOf(t, filepath.Join(e.agent.data, "Agent", "Logs", "reverse_tunnel.log"))
		if got := said(log, id); len(got) == 0 || got[len(got)-1] != want {
			wrong = append(wrong, fmt.Sprintf("%s: the agent's log says %q of\n%s", want, got, about(log, id)))
		}
	}
	return wrong
}

func logOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// said are the reasons that a log has for the end of a tunnel, in their order.
func said(log []byte, id string) []string {
	var all []string
	for _, found := range regexp.MustCompile(`msg=(?:tunnel_down|tunnel_recorded) .*tunnel=`+id+`.* reason=(\w+)`).FindAllSubmatch(log, -1) {
		all = append(all, string(found[1]))
	}
	return all
}

// about are the lines of a log with an id.
func about(log []byte, id string) string {
	var all bytes.Buffer
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(id)) {
			fmt.Fprintf(&all, "%s", line)
		}
	}
	return all.String()
}
