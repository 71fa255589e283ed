package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestTerminal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	id := b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1, Cols: 100, Rows: 30})
	var steps []string
	for {
		m := s.hear("step", "hello")
		if m["type"] == "step" {
			steps = append(steps, m["step"].(string))
			continue
		}
		if m["terminal"] == "" || m["offset"] != 0.0 || m["lost"] != 0.0 || m["resumed"] != false || m["window"].(float64) < 1 || m["cols"] != 100.0 || m["rows"] != 30.0 {
			t.Errorf("%v", m)
		}
		break
	}
	if got := strings.Join(steps, " "); got != "requested offered ready peered up shell" {
		t.Errorf("steps: %s", got)
	}
	s.keys("echo $((6*7)); stty size\r")
	s.shows("42")
	s.shows("30 100")
	s.say(map[string]any{"type": "resize", "cols": 120, "rows": 40, "person": true})
	s.keys("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo siz''ed\r") // input may overtake a resize
	s.shows("sized")
	s.say(map[string]any{"type": "ping", "t": 12345.678901})
	if m := s.hear("pong"); m["t"] != 12345.678901 {
		t.Errorf("%v", m)
	}
	s.keys("exit 3\r")
	if m := s.hear("exit"); m["status"] != 3.0 {
		t.Errorf("%v", m)
	}
	if code := r.closed(s.conn); code != websocket.StatusNormalClosure {
		t.Errorf("closed with %d", code)
	}
	r.recorded("terminal_closed")
	session, _, err := r.store.SessionByHash(t.Context(), HashSecret(b.cookie))
	if err != nil {
		t.Fatal(err)
	}
	for kind, detail := range map[string]string{"terminal_opened": "", "terminal_closed": "exit status 3"} {
		all := r.lines(kind)
		if len(all) != 1 {
			t.Fatalf("%s is on record %d times", kind, len(all))
		}
		want := store.Record{Kind: kind, Result: store.Done, DeviceID: device, TunnelID: id, Target: "1", Detail: detail}.By(
			store.Actor{Name: "ann", Session: session.ID, Source: "127.0.0.1"})
		ignored := cmpopts.IgnoreFields(store.Record{}, "Seq", "At", "Hash", "Hostname")
		if diff := cmp.Diff(want, all[0], ignored); diff != "" {
			t.Errorf("on record (-want +got):\n%s", diff)
		}
	}
}

// TestTerminalStepUp: a new terminal takes a second factor, as the policy says, and one
// that runs does not.
func TestTerminalStepUp(t *testing.T) {
	t.Parallel()
	for policy, again := range map[string]bool{stepUpSession: true, stepUpShell: false} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRigWith(t, func(c *Config) { c.StepUp = policy })
			device := r.realAgent()
			now := time.Now()
			b := r.stranger()
			session := store.Session{ExpiresAt: now.Add(sessionLife)}
			o := r.operatorWith("ann", access.Operator)
			b.cookie = r.session(o, session)
			b.connect(device, "t1")
			hello := func(name string) terminalHello {
				return terminalHello{Ticket: b.ticket(device), Tab: "t1", Terminal: name, Offset: -1}
			}
			refused := func(s *screen) {
				t.Helper()
				if m := s.hear("error", "hello"); m["code"] != string(codeSecondFactor) {
					t.Errorf("without a second factor: %v", m)
				}
				if code := r.closed(s.conn); code != websocket.StatusNormalClosure {
					t.Errorf("closed with %d", code)
				}
			}
			refused(b.open(device, hello("")))
			if got := r.lines("terminal_opened"); len(got) != 0 {
				t.Errorf("on record: %+v", got)
			}
			session.VerifiedAt = now
			b.cookie = r.session(o, session)
			b.connect(device, "t1")
			first := b.open(device, hello(""))
			name := first.hear("hello")["terminal"].(string)
			first.conn.CloseNow()
			if m := b.open(device, hello(name)).hear("hello"); m["resumed"] != true {
				t.Errorf("the one that runs: %v", m)
			}
			second := b.open(device, hello("NOTHING"))
			if !again {
				refused(second)
			} else if m := second.hear("hello"); m["resumed"] != false {
				t.Errorf("another one: %v", m)
			}
		})
	}
}

// TestTerminalWithoutARecord: no shell starts that cannot be recorded, and every page
// says so until it can.
func TestTerminalWithoutARecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	conn, err := sqlite.OpenConn(r.path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetBusyTimeout(testTimeout)
	do := func(statement string) {
		t.Helper()
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE TRIGGER spoilt BEFORE INSERT ON audit WHEN NEW.kind = 'terminal_opened' BEGIN SELECT raise(ABORT, 'disk full'); END")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	if m := s.hear("error", "hello"); m["code"] != string(codeUnavailable) || !strings.Contains(m["message"].(string), "the audit trail cannot be written") {
		t.Errorf("the page is told %v", m)
	}
	feed := b.follow("tab=t1")
	feed.until("The audit trail cannot be written.")
	do("DROP TRIGGER spoilt")
	for r.manager.Recording() != nil {
		if name, _ := feed.next(); name == "" {
			t.Fatal("the trail stays unwritable")
		}
	}
	if page := b.do(http.MethodGet, "/devices", "").body; strings.Contains(page, "audit trail cannot") {
		t.Error("the page goes on about the audit trail")
	}
	b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1}).hear("hello")
}

// TestTerminalResumes: a page that comes back gets what it missed, once.
func TestTerminalResumes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	name := s.hear("hello")["terminal"].(string)
	s.keys("stty -echo; PS1=; echo re''ady\r")
	s.shows("ready")
	s.keys("echo before; read x; echo aft''er\r")
	s.shows("before")
	s.conn.CloseNow()

	again := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Terminal: name, Offset: s.offset})
	if m := again.hear("hello"); m["resumed"] != true || m["terminal"] != name || int64(m["offset"].(float64)) != s.offset || m["lost"] != 0.0 {
		t.Errorf("%v, want from %d", m, s.offset)
	}
	again.keys("\r")
	again.shows("after")
	if strings.Contains(again.text.String(), "before") {
		t.Errorf("something came twice: %q", again.text.String())
	}

	// A second page sees everything that is still there.
	watcher := r.browser("bob", access.Operator)
	watcher.connect(device, "t2")
	w := watcher.open(device, terminalHello{Ticket: watcher.ticket(device), Tab: "t2", Terminal: name, Offset: -1})
	w.shows("before")
	w.shows("after")

	// An offset that is gone, and a terminal that is gone.
	fresh := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Terminal: "NOTHING", Offset: 1 << 40})
	if m := fresh.hear("hello"); m["resumed"] != false || m["terminal"] == name || m["offset"] != 0.0 {
		t.Errorf("%v", m)
	}
}

const inputFrames = orderQueue / 2

// TestTerminalInputIsBounded: what a shell does not read is not kept without end, and
// acks still pass meanwhile.
func TestTerminalInputIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	s.hear("hello")
	s.keys("stty -echo raw; echo dea''f; exec sleep 1000\r")
	s.shows("deaf")
	for range inputFrames {
		s.keys(strings.Repeat("x", 60<<10))
	}
	s.say(map[string]any{"type": "ping", "t": 1})
	s.hear("pong") // still alive
	for range 10 * orderQueue {
		if s.conn.Write(r.context(), websocket.MessageBinary, make([]byte, 60<<10)) != nil {
			break
		}
	}
	if code := r.closed(s.conn); code != websocket.StatusPolicyViolation && code != -1 {
		t.Errorf("closed with %d", code)
	}
}

// TestTerminalIdle: the page is warned, an operator's keys keep the tunnel, output and
// pings do not.
func TestTerminalIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *tunnel.Config) { c.Idle = 3 * time.Second })
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	if m := s.hear("idle"); m["remaining"].(float64) > 3 || m["remaining"].(float64) < 1 {
		t.Errorf("%v", m)
	}
	s.keys("while :; do echo busy; sleep 0.1; done\r")
	typed := time.Now()
	for {
		m, err := s.next()
		if err != nil || time.Since(typed) > testTimeout {
			t.Fatalf("the tunnel is not idle after %s: %v", time.Since(typed), err)
		}
		if m["type"] == "ended" {
			if m["reason"] != "idle_timeout" {
				t.Errorf("%v", m)
			}
			break
		}
		if len(m) == 0 {
			s.say(map[string]any{"type": "ping", "t": 1})
			s.say(map[string]any{"type": "resize", "cols": 80, "rows": 24, "person": false})
		}
	}
	if took := time.Since(typed); took < 2900*time.Millisecond {
		t.Errorf("it ended after %s", took)
	}
}
