package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/agent"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"

	"github.com/coder/websocket"
)

// realAgent enrols and runs a real agent with a real shell, until the test ends.
func (r *rig) realAgent() (device string) {
	r.t.Helper()
	data := r.t.TempDir()
	code := r.browser("enroller", access.Admin).do(http.MethodPost, "/api/codes", `{"auto_approve":true}`)
	var made codeAnswer
	code.into(r.t, &made)
	enrolled, err := agent.Enrol(r.context(), agent.EnrolConfig{Data: data, Code: made.Code, Hostname: "pc"})
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := agent.Open(agent.Config{Data: data, Shell: "/bin/sh"})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			r.t.Errorf("the agent: %v", err)
		}
	})
	r.t.Cleanup(func() { stop(); running.Wait() })
	r.until(enrolled.DeviceID, true)
	return enrolled.DeviceID
}

// ticket asks for a terminal's ticket.
func (c *client) ticket(device string) string {
	c.rig.t.Helper()
	var a ticketAnswer
	c.do(http.MethodPost, "/devices/"+device+"/terminal/ticket", "", "Accept", "application/json").into(c.rig.t, &a)
	return a.Ticket
}

// connect brings a device's tunnel up, as the Connect button of a tab does.
func (c *client) connect(device, tab string) (tunnelID string) {
	c.rig.t.Helper()
	if a := c.post("/devices/"+device+"/tunnel/connect", "", "Borealis-Tab", tab); a.StatusCode != http.StatusSeeOther {
		c.rig.t.Fatalf("connect: %d %s", a.StatusCode, a.body)
	}
	st, err := c.rig.manager.Status(c.rig.t.Context(), device)
	if err != nil {
		c.rig.t.Fatal(err)
	}
	if st, err = c.rig.manager.WaitUp(c.rig.context(), st.TunnelID, nil); err != nil {
		c.rig.t.Fatal(err, st.Detail)
	}
	return st.TunnelID
}

// A screen is a page's end of a terminal socket.
type screen struct {
	rig    *rig
	conn   *websocket.Conn
	text   strings.Builder // output
	offset int64           // after the last byte of output
}

// dialTerminal opens the socket, with the headers of our own page unless told otherwise.
func (c *client) dialTerminal(device string, headers ...string) (*screen, *http.Response, error) {
	c.rig.t.Helper()
	h := http.Header{"Origin": {"https://" + c.rig.address}, "Sec-Fetch-Site": {"same-origin"}}
	if c.cookie != "" {
		h.Set("Cookie", sessionCookie+"="+c.cookie)
	}
	subprotocols := []string{terminalProtocol}
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Subprotocol":
			subprotocols = []string{headers[i+1]}
		case headers[i+1] == "":
			h.Del(headers[i])
		default:
			h.Set(headers[i], headers[i+1])
		}
	}
	conn, response, err := websocket.Dial(c.rig.context(), "wss://"+c.rig.address+"/devices/"+device+"/terminal/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: c.http.Transport.(*http.Transport).Clone()}, HTTPHeader: h, Subprotocols: subprotocols,
	})
	if err != nil {
		return nil, response, err
	}
	conn.SetReadLimit(1 << 20)
	c.rig.t.Cleanup(func() { conn.CloseNow() })
	return &screen{rig: c.rig, conn: conn}, response, nil
}

// open opens the socket and says the first message.
func (c *client) open(device string, hello terminalHello) *screen {
	c.rig.t.Helper()
	s, _, err := c.dialTerminal(device)
	if err != nil {
		c.rig.t.Fatal(err)
	}
	if hello.Cols == 0 {
		hello.Cols, hello.Rows = 80, 24
	}
	s.say(hello)
	return s
}

func (s *screen) say(v any) {
	s.rig.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		s.rig.t.Fatal(err)
	}
	if err := s.conn.Write(s.rig.context(), websocket.MessageText, body); err != nil {
		s.rig.t.Fatal(err)
	}
}

func (s *screen) keys(text string) {
	s.rig.t.Helper()
	if err := s.conn.Write(s.rig.context(), websocket.MessageBinary, []byte(text)); err != nil {
		s.rig.t.Fatal(err)
	}
}

// hear reads until a text message of one of the types comes; output is kept and acked.
func (s *screen) hear(types ...string) map[string]any {
	s.rig.t.Helper()
	for {
		m, err := s.next()
		if err != nil {
			s.rig.t.Fatalf("no %v: %v; the screen shows %q", types, err, s.text.String())
		}
		for _, one := range types {
			if m["type"] == one {
				return m
			}
		}
	}
}

// next reads one message; output is kept and acked, and gives an empty map.
func (s *screen) next() (map[string]any, error) {
	kind, body, err := s.conn.Read(s.rig.context())
	if err != nil {
		return nil, err
	}
	if kind == websocket.MessageBinary {
		s.text.Write(body)
		s.offset += int64(len(body))
		ack := fmt.Sprintf(`{"type":"ack","offset":%d}`, s.offset)
		return map[string]any{}, s.conn.Write(s.rig.context(), websocket.MessageText, []byte(ack))
	}
	m := make(map[string]any)
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m["type"] == "hello" {
		s.offset = int64(m["offset"].(float64))
	}
	return m, nil
}

// shows reads until the screen has a text.
func (s *screen) shows(text string) {
	s.rig.t.Helper()
	for !strings.Contains(s.text.String(), text) {
		if _, err := s.next(); err != nil {
			s.rig.t.Fatalf("no %q: %v; the screen shows %q", text, err, s.text.String())
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
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
	if kinds := strings.Join(r.kinds(), " "); !strings.Contains(kinds, "terminal_opened") {
		t.Errorf("on record: %s", kinds)
	}
}

// recorded waits until something is on record.
func (r *rig) recorded(kind string) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond) // the store tells nobody what is added
	defer tick.Stop()
	for !strings.Contains(strings.Join(r.kinds(), " "), kind) {
		select {
		case <-tick.C:
		case <-r.context().Done():
			r.t.Fatalf("%s is not on record: %v", kind, r.kinds())
		}
	}
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

// TestTerminalEnds: the page learns why its tunnel ended.
func TestTerminalEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Admin)
	for reason, end := range map[string]func(){
		"operator_disconnect": func() { b.post("/devices/"+device+"/tunnel/disconnect", "") },
		"operator_force_stop": func() { b.post("/devices/"+device+"/tunnel/disconnect", "force=1") },
	} {
		b.connect(device, "t1")
		s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
		s.hear("hello")
		end()
		if m := s.hear("ended", "exit", "error"); m["type"] != "ended" || m["reason"] != reason {
			t.Errorf("%v, want %s", m, reason)
		}
		if code := r.closed(s.conn); code != websocket.StatusNormalClosure {
			t.Errorf("%s: closed with %d", reason, code)
		}
	}
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	if m := s.hear("error"); m["code"] != string(codeDown) || m["message"] == "" || m["hint"] == "" {
		t.Errorf("without a tunnel: %v", m)
	}
}

// TestTerminalSession: signing out closes the terminal's socket, and so does a session
// that ended elsewhere.
func TestTerminalSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	s.hear("hello")
	b.post("/logout", "")
	if code := r.closed(s.conn); code != closeSessionGone {
		t.Errorf("closed with %d", code)
	}
}

// TestSessionEndsElsewhere: what a session has open ends soon after another process has
// deleted it.
func TestSessionEndsElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	stream := b.follow("tab=t1&view=device:" + device)
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	s.hear("hello")
	session, _, err := r.store.SessionByHash(t.Context(), HashSecret(b.cookie))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.DeleteSession(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	if code := r.closed(s.conn); code != closeSessionGone {
		t.Errorf("the terminal is closed with %d", code)
	}
	for name := "fragments"; name != "signedout"; {
		if name, _ = stream.next(); name == "" {
			t.Fatal("the stream does not say that the session ended")
		}
	}
}

// TestTypingKeepsASession: keys are activity of a person, the rest is not.
func TestTypingKeepsASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	k := &terminalSocket{server: r.Server, request: &http.Request{Header: http.Header{}}}
	o := r.operatorWith("ann", access.Operator)
	before := time.Now().Add(-2 * sessionTouch)
	cookie := r.session(o, store.Session{CreatedAt: before, SeenAt: before, ExpiresAt: time.Now().Add(time.Hour)})
	k.request.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
	session, _, err := r.store.SessionByHash(t.Context(), HashSecret(cookie))
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []bool{false, true} {
		if typed {
			k.typed.Store(time.Now().UnixNano())
		}
		if err := k.checkSession(t.Context(), &session); err != nil {
			t.Fatal(err)
		}
		now, _, err := r.store.SessionByHash(t.Context(), HashSecret(cookie))
		if err != nil || now.SeenAt.After(before.Add(time.Second)) != typed {
			t.Errorf("typed %v: seen at %s, before at %s: %v", typed, now.SeenAt, before, err)
		}
	}
}

// TestTerminalAndClose: a server closes while terminals are open, also one whose shell
// does not read its input.
func TestTerminalAndClose(t *testing.T) {
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
	begun := time.Now()
	done := make(chan websocket.StatusCode, 1)
	go func() { done <- r.closed(s.conn) }()
	r.Close()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if code := <-done; code != websocket.StatusGoingAway {
		t.Errorf("closed with %d", code)
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

// TestTerminalHandshake: whoever is not our own page with our own session gets no
// socket, and learns nothing of the device.
func TestTerminalHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Admin)
	for _, c := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"no origin", []string{"Origin", ""}, 403},
		{"another site", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, old browser", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", ""}, 403},
		{"null", []string{"Origin", "null", "Sec-Fetch-Site", ""}, 403},
		{"http", []string{"Origin", "http://" + r.address, "Sec-Fetch-Site", ""}, 403},
		{"another port", []string{"Origin", "https://127.0.0.1:1", "Sec-Fetch-Site", ""}, 403},
		{"another name of ours", []string{"Origin", "https://localhost", "Sec-Fetch-Site", ""}, 403},
		{"a sister site", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"contradiction", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"our page", nil, 101},
		{"our page, old browser", []string{"Sec-Fetch-Site", ""}, 101},
	} {
		_, response, err := b.dialTerminal(d.ID, c.headers...)
		if response == nil || response.StatusCode != c.want {
			t.Errorf("%s: %v, want %d", c.name, err, c.want)
		}
	}
	if _, response, _ := r.stranger().dialTerminal(d.ID); response == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger: %v", response)
	}
	if _, response, _ := b.dialTerminal("x"); response == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown device: %v", response)
	}
}

// TestTerminalFirstMessage: a ticket is needed, and it is for one device, one session
// and one use.
func TestTerminalFirstMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	other, _ := r.device("other", store.Active)
	ann, bob := r.browser("ann", access.Admin), r.browser("bob", access.Admin)
	used := ann.ticket(d.ID)
	ann.open(d.ID, terminalHello{Ticket: used}).hear("error")
	hello := func(ticket string) string {
		return fmt.Sprintf(`{"ticket":%q,"tab":"t1","terminal":"","offset":-1,"cols":80,"rows":24}`, ticket)
	}
	for _, c := range []struct {
		name, message string
		kind          websocket.MessageType
		code          code
	}{
		{"no ticket", hello(""), websocket.MessageText, codeBadTicket},
		{"any ticket", hello("x"), websocket.MessageText, codeBadTicket},
		{"another device's", hello(ann.ticket(other.ID)), websocket.MessageText, codeBadTicket},
		{"another session's", hello(bob.ticket(d.ID)), websocket.MessageText, codeBadTicket},
		{"a used one", hello(used), websocket.MessageText, codeBadTicket},
		{"rubbish", "x", websocket.MessageText, codeMalformed},
		{"unknown field", `{"ticket":"x","shell":"cmd"}`, websocket.MessageText, codeMalformed},
		{"binary", hello(ann.ticket(d.ID)), websocket.MessageBinary, codeMalformed},
		{"no tunnel", hello(ann.ticket(d.ID)), websocket.MessageText, codeDown},
	} {
		s, _, err := ann.dialTerminal(d.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.conn.Write(r.context(), c.kind, []byte(c.message)); err != nil {
			t.Fatal(err)
		}
		if m := s.hear("error"); m["code"] != string(c.code) || m["message"] == "" {
			t.Errorf("%s: %v", c.name, m)
		}
		want := websocket.StatusPolicyViolation
		if c.code == codeDown {
			want = websocket.StatusNormalClosure
		}
		if code := r.closed(s.conn); code != want {
			t.Errorf("%s: closed with %d, want %d", c.name, code, want)
		}
	}
	s, _, err := ann.dialTerminal(d.ID, "Subprotocol", "terminal.borealis.v0")
	if err != nil {
		t.Fatal(err)
	}
	if code := r.closed(s.conn); code != websocket.StatusPolicyViolation {
		t.Errorf("another subprotocol: %d", code)
	}
}

// TestTicketTwiceCuts: the socket that a ticket opened ends when the ticket is seen
// again.
func TestTicketTwiceCuts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	ticket := b.ticket(device)
	first := b.open(device, terminalHello{Ticket: ticket, Tab: "t1", Offset: -1})
	first.hear("hello")
	second := b.open(device, terminalHello{Ticket: ticket, Tab: "t1", Offset: -1})
	if m := second.hear("error"); m["code"] != string(codeBadTicket) {
		t.Errorf("%v", m)
	}
	if code := r.closed(first.conn); code != websocket.StatusPolicyViolation {
		t.Errorf("the first is closed with %d", code)
	}
}

// TestBadTerminalMessages end the socket, and nothing else.
func TestBadTerminalMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	id := b.connect(device, "t1")
	for _, message := range []string{"x", `{}`, `{"type":"dance"}`, `{"type":"ack","offset":"x"}`, `{"type":"resize","cols":80,"rows":24,"x":1}`, strings.Repeat(" ", maxTerminal+1)} {
		s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
		s.hear("hello")
		if err := s.conn.Write(r.context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if code := r.closed(s.conn); code != websocket.StatusPolicyViolation && code != websocket.StatusMessageTooBig {
			t.Errorf("%.40q: closed with %d", message, code)
		}
	}
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	s.hear("hello")
	for _, harmless := range []string{`{"type":"ack","offset":-5}`, `{"type":"ack","offset":9223372036854775807}`, `{"type":"resize","cols":-1,"rows":999999999}`, `{"type":"keep_open"}`} {
		if err := s.conn.Write(r.context(), websocket.MessageText, []byte(harmless)); err != nil {
			t.Fatal(err)
		}
	}
	s.keys("echo st''ill\r")
	s.shows("still")
	if st, err := r.manager.Status(t.Context(), device); err != nil || st.TunnelID != id || !st.Up() {
		t.Errorf("%+v %v", st, err)
	}
}

// TestTabsBelongToSessions: nobody keeps, or lets go, what another session's tab holds.
func TestTabsBelongToSessions(t *testing.T) {
	t.Parallel()
	ann, bob := principal{session: store.Session{ID: "s1"}}, principal{session: store.Session{ID: "s2"}}
	if ann.tab("t") == bob.tab("t") || ann.tab("t") == "" {
		t.Error("two sessions share a tab")
	}
	for _, id := range []string{"", "a/b", "a b", strings.Repeat("x", 65), "é"} {
		if got := ann.tab(id); got != "" {
			t.Errorf("%q is the tab %q", id, got)
		}
	}
	if got := (principal{token: store.APIToken{ID: "k"}}).holder("t"); got.Tab != "" || got.Session != "k" {
		t.Errorf("a program has a tab: %+v", got)
	}
}

// TestTabLeaves: when the last stream of a tab is gone for a while, its tunnel ends,
// although another session has a tab of the same name open.
func TestTabLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	ann, bob := r.browser("ann", access.Operator), r.browser("bob", access.Operator)
	stream := ann.follow("tab=t1")
	stream.until("nav")
	bob.follow("tab=t1").until("nav")
	ann.connect(device, "t1")
	changes, stop := r.manager.Watch()
	defer stop()
	stream.close()
	for {
		st, err := r.manager.Status(t.Context(), device)
		if err != nil {
			t.Fatal(err)
		}
		if !st.Live() {
			if st.Reason != tunnel.OperatorLeft {
				t.Errorf("it ended as %s", st.Reason)
			}
			return
		}
		select {
		case <-changes:
		case <-r.context().Done():
			t.Fatal("the tunnel lives on")
		}
	}
}
