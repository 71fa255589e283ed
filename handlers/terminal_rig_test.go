package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"borealis/agent"
	"borealis/handlers/access"
	"borealis/store"

	"github.com/coder/websocket"
)

// realAgent enrols and runs a real agent with a real shell, at a site if one is named,
// until the test ends.
func (r *rig) realAgent(site ...string) (device string) {
	r.t.Helper()
	data := r.t.TempDir()
	code := r.browser("enroller-"+newSecret()[:8], access.Admin).do(http.MethodPost, "/api/codes", `{"auto_approve":true,"site":"`+strings.Join(site, "")+`"}`)
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
		HTTPClient: &http.Client{Transport: c.http.Transport.(*http.Transport).Clone()}, HTTPHeader: h, Host: h.Get("Host"), Subprotocols: subprotocols,
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

// lines are what is on record of a kind, oldest first.
func (r *rig) lines(kind string) []store.Record {
	r.t.Helper()
	all, err := r.store.Records(r.t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: kind, Limit: store.MaxPage})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}
