package handlers

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"

	"github.com/coder/websocket"
)

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
	if err := r.store.DeleteSession(t.Context(), session.ID, store.Record{}); err != nil {
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

// TestTerminalOfSomebodyElse: the shell of an operator who was locked is closed for those
// too who look on, and they may open one of their own.
func TestTerminalOfSomebodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	ann, bob := r.browser("ann", access.Operator), r.browser("bob", access.Operator)
	ann.connect(device, "a")
	hers := ann.open(device, terminalHello{Ticket: ann.ticket(device), Tab: "a", Offset: -1})
	name := hers.hear("hello")["terminal"].(string)
	bob.connect(device, "b")
	onlooker := bob.open(device, terminalHello{Ticket: bob.ticket(device), Tab: "b", Terminal: name, Offset: -1})
	if m := onlooker.hear("hello"); m["resumed"] != true {
		t.Fatalf("%v", m)
	}
	o, err := r.store.OperatorByName(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	lock := store.Lock{Kind: store.LockOperator, Target: o.ID, Reason: "left the company"}
	if err := r.another().AddLock(t.Context(), lock, store.Record{}); err != nil {
		t.Fatal(err)
	}
	if m := hers.hear("error", "ended"); m["code"] != string(codeOperatorLocked) || !strings.Contains(m["message"].(string), "left the company") {
		t.Errorf("ann is told %v", m)
	}
	if m := onlooker.hear("error", "ended"); m["type"] != "ended" || m["reason"] != "" {
		t.Errorf("bob is told %v", m)
	}
	for _, s := range []*screen{hers, onlooker} {
		if code := r.closed(s.conn); code != websocket.StatusNormalClosure { // so that the page does not come back
			t.Errorf("closed with %d", code)
		}
	}
	bob.shell(device, "b").answers("own")
	r.recorded("terminal_closed")
	for _, l := range r.lines("terminal_closed") {
		if l.Actor != "ann" || l.Reason != string(tunnel.OperatorLocked) {
			t.Errorf("on record: %+v", l)
		}
	}
}

// TestTypingKeepsASession: keys are activity of a person, the rest is not.
func TestTypingKeepsASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := r.operatorWith("ann", access.Operator)
	before := time.Now().Add(-2 * sessionTouch)
	cookie := r.session(o, store.Session{CreatedAt: before, SeenAt: before, ExpiresAt: time.Now().Add(time.Hour)})
	session, _, err := r.store.SessionByHash(t.Context(), HashSecret(cookie))
	if err != nil {
		t.Fatal(err)
	}
	request := (&http.Request{}).WithContext(context.WithValue(t.Context(), principalKey{}, principal{operator: o, session: session}))
	k := &terminalSocket{server: r.Server, request: request}
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
