package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"

	"github.com/coder/websocket"
)

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
		{"unknown field", `{"ticket":"x","colour":"red"}`, websocket.MessageText, codeMalformed},
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
