package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"

	"github.com/coder/websocket"
)

// soon makes the engine ask the agents of two connections soon. The first answer has
// all the time that it needs.
func soon(c *tunnel.Config) { c.PingAnswer, c.PingAgain = testTimeout, 10*time.Millisecond }

// listens reads a socket until it ends, as an agent does, which also answers pings.
func (r *rig) listens(conn *websocket.Conn) (ended <-chan websocket.StatusCode) {
	over := make(chan websocket.StatusCode, 1)
	go func() {
		for {
			if _, _, err := conn.Read(r.t.Context()); err != nil {
				over <- websocket.CloseStatus(err)
				return
			}
		}
	}()
	return over
}

// over waits for the end of a socket.
func (r *rig) over(ended <-chan websocket.StatusCode) websocket.StatusCode {
	r.t.Helper()
	select {
	case code := <-ended:
		return code
	case <-r.context().Done():
		r.t.Fatal("the socket stays open")
		return 0
	}
}

// stateOf is what the store has about a device.
func (r *rig) stateOf(d store.Device) string {
	r.t.Helper()
	now, err := r.store.Device(r.t.Context(), d.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return now.State
}

// TestClonesAreQuarantined is failure F16: two agents with one key are both cut, and an
// administrator decides.
func TestClonesAreQuarantined(t *testing.T) {
	t.Parallel()
	r := newRig(t, soon)
	d, id := r.device("pc", store.Active)
	first := r.listens(r.joinAgent(id))
	p := r.program("ann", access.Admin)
	var made connectAnswer
	p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).into(t, &made)
	second := r.listens(r.joinAgent(id))
	if a, b := r.over(first), r.over(second); a != websocket.StatusNormalClosure || b != websocket.StatusNormalClosure {
		t.Errorf("they end with %d and %d", a, b)
	}
	r.until(d.ID, false)
	if got := r.stateOf(d); got != store.Quarantined {
		t.Errorf("the device is %s", got)
	}
	if len(r.manager.Tunnels()) != 0 {
		t.Error("its tunnel lives on")
	}
	if _, err := r.dialAgent(id, wire.Subprotocol); err == nil {
		t.Error("it may come back")
	}
	if got := strings.Count(strings.Join(r.kinds(), " "), "device_quarantined"); got != 1 {
		t.Errorf("%d records: %v", got, r.kinds())
	}
}

func TestRestartedAgentIsNoClone(t *testing.T) {
	t.Parallel()
	r := newRig(t, soon)
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	for range 5 {
		conn.CloseNow() // The process is killed and starts again at once.
		conn = r.joinAgent(id)
		r.listens(conn)
	}
	r.settledOn(d, conn)
}

func TestAgentThatRedialsIsNoClone(t *testing.T) {
	t.Parallel()
	r := newRig(t, soon)
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	for range 5 {
		ended := r.listens(conn)
		conn.Close(websocket.StatusGoingAway, "") // It says goodbye, and dials again.
		r.over(ended)
		conn = r.joinAgent(id)
	}
	r.listens(conn)
	r.settledOn(d, conn)
}

func TestAgentWhoseNetworkChangedIsNoClone(t *testing.T) {
	t.Parallel()
	cut := make(cutLog, 1)
	r := newRig(t, func(c *tunnel.Config) {
		c.PingAnswer, c.PingAgain, c.Logger = 100*time.Millisecond, time.Millisecond, slog.New(cut)
	})
	d, id := r.device("pc", store.Active)
	r.joinAgent(id) // Nobody reads there any more; nobody hangs up either.
	conn := r.joinAgent(id)
	r.listens(conn)
	select {
	case <-cut:
	case <-r.context().Done():
		t.Fatal("the lost connection stays")
	}
	r.settledOn(d, conn)
}

// A cutLog tells when the manager has lost an agent's connection.
type cutLog chan struct{}

func (cutLog) Enabled(context.Context, slog.Level) bool { return true }
func (c cutLog) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c cutLog) WithGroup(string) slog.Handler          { return c }

func (c cutLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "agent_disconnected" {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return nil
}

// settledOn wants a device to be in order, with one connection that works. Its agent
// listens there already.
func (r *rig) settledOn(d store.Device, conn *websocket.Conn) {
	r.t.Helper()
	if err := conn.Ping(r.context()); err != nil {
		r.t.Errorf("the connection is dead: %v", err)
	}
	r.until(d.ID, true)
	if got := r.stateOf(d); got != store.Active || strings.Contains(strings.Join(r.kinds(), " "), "device_quarantined") {
		r.t.Errorf("the device is %s; %v", got, r.kinds())
	}
	r.manager.Close() // Which waits for what is still being decided.
	if got := r.stateOf(d); got != store.Active {
		r.t.Errorf("the device is %s in the end", got)
	}
}

func TestIdentityOnAnotherMachine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	copied, err := keys.NewIdentity("copied")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	hash := [32]byte(copied.Pin())
	code := store.Code{Uses: 1, AutoApprove: true, CreatedBy: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	if _, err := r.store.AddCode(t.Context(), hash, code, store.Record{}); err != nil {
		t.Fatal(err)
	}
	d, err := r.store.RedeemCode(t.Context(), hash, store.Device{Hostname: "pc", OS: "linux", Pin: copied.Pin().String(), Machine: "v2.aaaa"}, now, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
	say := func(machine string) *websocket.Conn {
		conn, err := r.dialAgent(copied, wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		hello := goodHello
		hello.Machine = machine
		r.say(conn, wire.FromAgent{Hello: &hello})
		return conn
	}
	right := say("v2.aaaa")
	if msg := r.hear(right); msg.Welcome == nil {
		t.Fatalf("the right machine hears %+v", msg)
	}
	wrong := say("v2.bbbb")
	if code := r.closed(wrong); code != websocket.StatusTryAgainLater {
		t.Errorf("the wrong machine's connection ends with %d", code)
	}
	r.closed(right)
	if got := r.stateOf(d); got != store.Quarantined {
		t.Errorf("the device is %s", got)
	}
	if _, err := r.dialAgent(copied, wire.Subprotocol); err == nil {
		t.Error("it may come back")
	}
	records, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: d.ID, Kind: "device_quarantined"})
	if err != nil || len(records) != 1 || records[0].Reason != "identity_copied" {
		t.Errorf("records are %+v, %v", records, err)
	}
}

func TestApprovalReachesTheAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Pending)
	conn, err := r.dialAgent(id, wire.Subprotocol)
	if err != nil {
		t.Fatal(err)
	}
	r.say(conn, wire.FromAgent{Hello: &goodHello})
	if msg := r.hear(conn); msg.Welcome == nil || msg.Welcome.State != store.Pending {
		t.Fatalf("the first message is %+v", msg)
	}
	r.program("ann", access.Admin).do(http.MethodPost, "/api/devices/"+d.ID+"/approve", `{}`)
	if msg := r.hear(conn); msg.State == nil || msg.State.State != store.Active {
		t.Errorf("after the approval it hears %+v", msg)
	}
}

// TestDecisionsElsewhereReachTheAgent: an administrator's command in another process
// approves one waiting device and turns another away.
func TestDecisionsElsewhereReachTheAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin := r.another()
	for name, decide := range map[string]func(string) error{
		"approved": func(id string) error { return admin.ApproveDevice(t.Context(), id, "", store.Record{}) },
		"denied":   func(id string) error { return admin.DenyDevice(t.Context(), id, store.Record{}) },
	} {
		d, id := r.device(name, store.Pending)
		conn, err := r.dialAgent(id, wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		r.say(conn, wire.FromAgent{Hello: &goodHello})
		r.hear(conn) // the welcome
		if err := decide(d.ID); err != nil {
			t.Fatal(err)
		}
		if name == "approved" {
			if msg := r.hear(conn); msg.State == nil || msg.State.State != store.Active {
				t.Errorf("the approved agent hears %+v", msg)
			}
			continue
		}
		if _, _, err := conn.Read(r.context()); websocket.CloseStatus(err) == -1 {
			t.Errorf("the channel of the denied device: %v, want its end", err)
		}
	}
}
