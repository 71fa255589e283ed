package handlers

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
)

// A feed is an open event stream.
type feed struct {
	t      *testing.T
	body   *bufio.Reader
	close  func()
	header http.Header
}

// follow opens an event stream, until the test ends.
func (c *client) follow(query string) *feed {
	c.rig.t.Helper()
	response, err := c.http.Do(c.request(http.MethodGet, "/events?"+query, "").WithContext(c.rig.context()))
	if err != nil {
		c.rig.t.Fatal(err)
	}
	c.rig.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		c.rig.t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	return &feed{c.rig.t, bufio.NewReader(response.Body), func() { response.Body.Close() }, response.Header}
}

// next is the next event; its name is "" at the end of the stream.
func (f *feed) next() (name, data string) {
	f.t.Helper()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			return "", ""
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:] + "\n"
		case line == "" && name != "":
			return name, data
		}
	}
}

// until reads fragments until one has the text, and returns it.
func (f *feed) until(text string) string {
	f.t.Helper()
	for {
		name, data := f.next()
		if name == "" {
			f.t.Fatalf("the stream ended without %q", text)
		}
		if name == "fragments" && strings.Contains(data, text) {
			return data
		}
	}
}

func TestEventsOfADevice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	b := r.browser("ann", access.Admin)
	f := b.follow("tab=t1&view=device:" + d.ID)
	_, first := f.next()
	for _, want := range []string{`id="nav"`, `id="banner"`, `id="device-head"`, `id="tunnel-card"`, `id="device-activity"`, `data-online="false"`} {
		if !strings.Contains(first, want) {
			t.Errorf("the first event has no %s", want)
		}
	}
	conn := r.joinAgent(id)
	online := f.until(`data-online="true"`)
	if strings.Contains(online, `id="nav"`) || strings.Contains(online, `id="banner"`) {
		t.Error("what has not changed was sent again")
	}
	if a := b.post("/devices/"+d.ID+"/tunnel/connect", "", "Borealis-Tab", "t1"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if live := f.until(`data-tunnel-state="offered"`); !strings.Contains(live, `data-attached="true"`) {
		t.Errorf("%s", live)
	}
	offered := r.hear(conn).Start
	if offered == nil {
		t.Fatal("no offer")
	}
	if a := b.post("/devices/"+d.ID+"/tunnel/disconnect", ""); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if over := f.until(`data-tunnel-state="ended"`); !strings.Contains(over, "operator_disconnect") || strings.Contains(over, offered.PresharedKey) {
		t.Errorf("%s", over)
	}
	conn.CloseNow()
	f.until(`data-online="false"`)
}

func TestEventsOfLists(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	other, _ := r.device("other", store.Active)
	b := r.browser("ann", access.Admin)
	devices, tunnels, frame := b.follow("view=devices"), b.follow("view=tunnels"), b.follow("")
	first := devices.until(`id="row-` + d.ID)
	if !strings.Contains(first, `id="row-`+other.ID) || !strings.Contains(first, "<table><tbody><tr") {
		t.Errorf("the first rows: %s", first)
	}
	tunnels.until(`id="tunnel-list"`)
	if data := frame.until(`id="nav"`); strings.Contains(data, `id="row-`) {
		t.Errorf("a page without a list gets rows: %s", data)
	}
	conn := r.joinAgent(id)
	row := devices.until("Online")
	if strings.Contains(row, `id="row-`+other.ID) || !strings.Contains(row, `id="row-`+d.ID) {
		t.Errorf("rows that did not change were sent: %s", row)
	}
	b.post("/devices/"+d.ID+"/tunnel/connect", "", "Borealis-Tab", "t1")
	live := tunnels.until(`id="tunnel-list"`)
	for !strings.Contains(live, `data-testid="tunnel-row"`) {
		live = tunnels.until(`id="tunnel-list"`)
	}
	frame.until("nav-count")
	conn.CloseNow()
}

func TestEventsRefused(t *testing.T) {
	t.Parallel()
	b := newRig(t).browser("ann", access.Admin)
	for query, want := range map[string]code{
		"view=device:x": codeUnknownDevice, "view=device:": codeInvalid, "view=device": codeInvalid, "view=else": codeInvalid,
	} {
		if p := b.do(http.MethodGet, "/events?"+query, "").problem(t); p.Code != want {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

// TestEventsEnd: with the session, and with the engine.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ann, bob := r.browser("ann", access.Admin), r.browser("bob", access.Admin)
	first, second := ann.follow(""), bob.follow("")
	first.until("nav")
	second.until("nav")
	ann.post("/logout", "")
	if name, _ := first.next(); name != "signedout" {
		t.Errorf("after signing out: %q", name)
	}
	if name, _ := first.next(); name != "" {
		t.Errorf("after the end: %q", name)
	}
	r.Close()
	if name, _ := second.next(); name != "bye" {
		t.Errorf("when the engine stops: %q", name)
	}
	if p := bob.do(http.MethodGet, "/events", "").problem(t); p.Code != codeStopping {
		t.Errorf("%+v", p)
	}
}
