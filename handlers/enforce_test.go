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
)

// another opens the rig's database as another process does, which the engine is not told
// of.
func (r *rig) another() *store.Store {
	r.t.Helper()
	s, err := store.Open(r.t.Context(), r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close() })
	return s
}

// shell connects and opens a terminal that works.
func (c *client) shell(device, tab string) *screen {
	c.rig.t.Helper()
	c.connect(device, tab)
	s := c.open(device, terminalHello{Ticket: c.ticket(device), Tab: tab, Offset: -1})
	s.hear("hello")
	s.keys("echo re''ady\r")
	s.shows("ready")
	return s
}

// ends reads until the socket is closed and returns the code of the last error that the
// page was told, or the reason of the tunnel's end, and the close code.
func (s *screen) ends() (said string, code websocket.StatusCode) {
	s.rig.t.Helper()
	for {
		m, err := s.next()
		switch {
		case s.rig.t.Context().Err() != nil:
			s.rig.t.Fatal("the socket stays open")
		case err != nil:
			return said, websocket.CloseStatus(err)
		case m["type"] == "error":
			said = m["code"].(string)
		case m["type"] == "ended":
			said = m["reason"].(string)
		}
	}
}

// end reads until the stream says why it ends.
func (f *feed) end() string {
	f.t.Helper()
	for {
		if name, _ := f.next(); name != "fragments" {
			return name
		}
	}
}

// answers asks the shell something.
func (s *screen) answers(word string) {
	s.rig.t.Helper()
	s.keys("echo an''swer-" + word + "\r")
	s.shows("answer-" + word)
}

// TestEnforcerOperators: a right that another process takes from one operator ends what
// that operator has open, and nothing else.
func TestEnforcerOperators(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device, admin := r.realAgent("Oslo"), r.another()
	bob := r.browser("bob", access.Operator)
	other := bob.shell(device, "bob")
	for _, c := range []struct {
		name   string
		change func(o store.Operator, session string) error

		said   string // on the terminal
		code   websocket.StatusCode
		event  string // on the event stream
		status int    // of the next request
		next   code
	}{
		{"locked", func(o store.Operator, _ string) error {
			return admin.AddLock(t.Context(), store.Lock{Kind: store.LockOperator, Target: o.ID, Reason: "left the company"}, store.Record{})
		}, "operator_locked", websocket.StatusNormalClosure, "changed", 403, codeOperatorLocked},
		{"session revoked", func(_ store.Operator, session string) error {
			return admin.DeleteSession(t.Context(), session, store.Record{Kind: "session_revoked"})
		}, "", closeSessionGone, "signedout", 401, codeSessionExpired},
		{"role lowered", func(o store.Operator, _ string) error {
			return admin.SetRole(t.Context(), o.ID, access.Viewer, []string{"Oslo"}, store.Record{})
		}, "forbidden", websocket.StatusNormalClosure, "changed", 403, codeForbidden},
		{"site taken", func(o store.Operator, _ string) error {
			return admin.SetRole(t.Context(), o.ID, access.Operator, []string{"Bergen"}, store.Record{})
		}, "unknown_device", websocket.StatusNormalClosure, "changed", 404, codeUnknownDevice},
		{"removed", func(o store.Operator, _ string) error {
			return admin.DeleteOperator(t.Context(), o.ID, store.Record{})
		}, "", closeSessionGone, "signedout", 401, codeSessionExpired},
	} {
		name := "ann-" + strings.ReplaceAll(c.name, " ", "-")
		ann := r.browser(name, access.Operator, "Oslo")
		session, o, err := r.store.SessionByHash(t.Context(), HashSecret(ann.cookie))
		if err != nil {
			t.Fatal(err)
		}
		screen := ann.shell(device, "ann")
		feed := ann.follow("tab=ann&view=device:" + device)
		feed.until("device-head")
		if err := c.change(o, session.ID); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if said, code := screen.ends(); said != c.said || code != c.code {
			t.Errorf("%s: the terminal ends with %q, %d", c.name, said, code)
		}
		if event := feed.end(); event != c.event {
			t.Errorf("%s: the stream ends with %q", c.name, event)
		}
		if p := ann.do(http.MethodPost, "/devices/"+device+"/terminal/ticket", "").problem(t); p.Status != c.status || p.Code != c.next {
			t.Errorf("%s: the next request is answered with %d %s", c.name, p.Status, p.Code)
		}
		r.released(device, name)
		other.answers(c.name)
	}
}

// released waits until an operator has no hold on a device's tunnel, which others keep.
func (r *rig) released(device, operator string) {
	r.t.Helper()
	changes, stop := r.manager.Watch()
	defer stop()
	for {
		st, err := r.manager.Status(r.t.Context(), device)
		if err != nil || !st.Live() {
			r.t.Fatalf("the tunnel is %s: %v", st.State, err)
		}
		held := false
		for _, a := range st.Operators {
			held = held || a.Name == operator
		}
		if !held {
			return
		}
		select {
		case <-changes:
		case <-r.context().Done():
			r.t.Fatalf("%s holds the tunnel", operator)
		}
	}
}

// TestEnforcerDevices: a device that another process locks or revokes loses its tunnel
// and every terminal.
func TestEnforcerDevices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(admin *store.Store, device string) error
		undo   func(admin *store.Store, device string) error

		said string
		next code
	}{
		{"device lock", func(admin *store.Store, device string) error {
			return admin.AddLock(t.Context(), store.Lock{Kind: store.LockDevice, Target: device}, store.Record{})
		}, func(admin *store.Store, device string) error {
			return admin.DeleteLock(t.Context(), store.LockDevice, device, store.Record{})
		}, "device_locked", codeDeviceLocked},
		{"site lock", func(admin *store.Store, _ string) error {
			return admin.AddLock(t.Context(), store.Lock{Kind: store.LockSite, Target: "Oslo"}, store.Record{})
		}, func(admin *store.Store, _ string) error {
			return admin.DeleteLock(t.Context(), store.LockSite, "Oslo", store.Record{})
		}, "device_locked", codeDeviceLocked},
		{"revoked", func(admin *store.Store, device string) error {
			return admin.SetDeviceState(t.Context(), device, store.Revoked, time.Now(), store.Record{})
		}, nil, "device_revoked", codeRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			device, admin := r.realAgent("Oslo"), r.another()
			ann, bob := r.browser("ann", access.Operator, "Oslo"), r.browser("bob", access.Admin)
			screens := []*screen{ann.shell(device, "ann"), bob.shell(device, "bob")}
			feed := bob.follow("tab=bob&view=device:" + device)
			feed.until("device-head")
			if err := c.change(admin, device); err != nil {
				t.Fatal(err)
			}
			for i, s := range screens {
				if said, _ := s.ends(); said != c.said {
					t.Errorf("terminal %d ends with %q", i, said)
				}
			}
			feed.until(`data-tunnel-state="ended"`)
			if p := bob.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+device+`"}`).problem(t); p.Code != c.next {
				t.Errorf("connecting is answered with %+v", p)
			}
			if c.undo == nil {
				r.until(device, false)
				return
			}
			if err := c.undo(admin, device); err != nil {
				t.Fatal(err)
			}
			bob.shell(device, "bob").answers("again")
		})
	}
}

// TestEnforcerPrograms: a program has no socket, but a hold on the tunnel.
func TestEnforcerPrograms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	r.joinAgent(id)
	p := r.program("script", access.Operator)
	var made connectAnswer
	p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).into(t, &made)
	o, err := r.store.OperatorByName(t.Context(), "script")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.another().AddLock(t.Context(), store.Lock{Kind: store.LockOperator, Target: o.ID}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.manager.WaitUp(r.context(), made.TunnelID, nil); err != tunnel.OperatorLocked && err != tunnel.ErrNotConnected {
		t.Errorf("the tunnel ends with %v", err)
	}
	if st, err := r.manager.Status(t.Context(), d.ID); err != nil || st.Reason != tunnel.OperatorLocked {
		t.Errorf("%+v %v", st, err)
	}
	if p := p.do(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeOperatorLocked {
		t.Errorf("the program is answered with %+v", p)
	}
}

// TestEnforceTwice: enforcing again changes nothing, also when there was something to do.
func TestEnforceTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	r.joinAgent(id)
	b := r.browser("ann", access.Operator)
	b.post("/devices/"+d.ID+"/tunnel/connect", "", "Borealis-Tab", "t1")
	before := len(r.kinds())
	for range 3 {
		if err := r.enforce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	st, err := r.manager.Status(t.Context(), d.ID)
	if err != nil || !st.Live() || len(st.Operators) != 1 || len(r.kinds()) != before {
		t.Errorf("%+v %v %v", st, err, r.kinds())
	}
}
