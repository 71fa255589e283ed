package handlers

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"borealis/agent/release"
	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel/keys"

	"github.com/coder/websocket"
)

// publisherKey signs the releases of these tests.
var publisherKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("p", ed25519.SeedSize)))

// releasing makes an engine carry version 2.0 of the agents, for Windows on amd64, and for
// another processor whose file is missing.
func releasing(t *testing.T) func(*Config) {
	t.Helper()
	body := agents[windowsAgent]
	signed, err := release.Sign(release.Manifest{
		Version: "2.0", Sequence: 2, Released: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Files: []release.File{
			{OS: "windows", Arch: "amd64", Name: windowsAgent, SHA256: sumOf(body), Size: int64(len(body))},
			{OS: "windows", Arch: "arm64", Name: "borealis-agent-windows-arm64.exe", SHA256: strings.Repeat("0", 64), Size: 1},
		},
	}, publisherKey)
	if err != nil {
		t.Fatal(err)
	}
	set, err := downloads.New(fstest.MapFS{windowsAgent: {Data: []byte(body)}, "manifest": {Data: []byte(signed + "\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Downloads, c.Publisher = set, publisherKey.Public().(ed25519.PublicKey) }
}

// windowsHello is the hello of an agent on Windows.
func windowsHello(version, arch string) wire.Hello {
	h := goodHello
	h.OS, h.Version, h.Arch, h.Protocol = "windows", version, arch, wire.Protocol
	return h
}

// greets connects a device with a hello.
func (r *rig) greets(id *keys.Identity, hello wire.Hello) *websocket.Conn {
	r.t.Helper()
	conn, err := r.dialAgent(id, wire.Subprotocol)
	if err != nil {
		r.t.Fatal(err)
	}
	r.say(conn, wire.FromAgent{Hello: &hello})
	if m := r.hear(conn); m.Welcome == nil {
		r.t.Fatalf("the first message is %+v", m)
	}
	return conn
}

// TestUpdateFromThePage offers an update with the button, and shows what comes of it.
func TestUpdateFromThePage(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, releasing(t))
	d, id := r.device("pc", store.Active, "Oslo")
	b := r.browser("ann", access.Admin)
	summary := "/devices/" + d.ID + "/summary"
	if page := b.do(http.MethodGet, summary, "", html...).body; strings.Contains(page, "update-button") {
		t.Error("an update is offered to who knows what")
	}
	conn := r.greets(id, windowsHello("1.0", "amd64"))
	f := b.follow("tab=t&view=device:" + d.ID)
	f.until("This engine has version 2.0.")
	if page := b.do(http.MethodGet, summary, "", html...).body; !strings.Contains(page, `data-testid="update-button"`) {
		t.Error("no update is offered")
	}
	if page := r.browser("vic", access.Viewer).do(http.MethodGet, summary, "", html...).body; strings.Contains(page, "update-button") || !strings.Contains(page, "has version 2.0.") {
		t.Error("a viewer is offered an update, or is not told of it")
	}
	if a := b.post("/devices/"+d.ID+"/update", "", "Origin", "https://"+r.address); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %.300s", a.StatusCode, a.body)
	}
	m := r.hear(conn)
	if m.Update == nil {
		t.Fatalf("the agent hears %+v", m)
	}
	if got, err := release.Read(m.Update.Manifest, publisherKey.Public().(ed25519.PublicKey)); err != nil || got.Version != "2.0" {
		t.Errorf("the agent is offered %+v, %v", got, err)
	}
	f.until("The agent gets version 2.0")
	r.say(conn, wire.FromAgent{Updated: &wire.Updated{Version: "2.0", Outcome: wire.UpdateFailed, Detail: "The disk is full."}})
	f.until("The disk is full.")
	r.recorded("agent_update_failed")
	if got := strings.Join(r.kinds(), " "); got != "agent_online agent_update_offered agent_update_failed" {
		t.Errorf("on record is %s", got)
	}
	if a := b.do(http.MethodGet, "/devices/"+d.ID+"/activity", "", html...); !strings.Contains(a.body, "told the agent to update itself to") {
		t.Error("the activity does not tell of the offer")
	}
}

// TestUpdateFromAProgram follows an update through the API.
func TestUpdateFromAProgram(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, releasing(t))
	d, id := r.device("pc", store.Active)
	p := r.program("prog", access.Admin)
	conn := r.greets(id, windowsHello("1.0", "amd64"))
	path := "/api/devices/" + d.ID
	var got deviceDetail
	p.do(http.MethodGet, path, "").into(t, &got)
	if got.Update != (updateAnswer{Available: "2.0"}) {
		t.Errorf("before the update: %+v", got.Update)
	}
	got = deviceDetail{}
	p.do(http.MethodPost, path+"/update", "{}").into(t, &got)
	if got.Update.Version != "2.0" || got.Update.Outcome != "offered" || got.Update.At == nil {
		t.Errorf("after the offer: %+v", got.Update)
	}
	if m := r.hear(conn); m.Update == nil {
		t.Errorf("the agent hears %+v", m)
	}
	if q := p.do(http.MethodPost, path+"/update", "").problem(t); q.Code != codeUpdating {
		t.Errorf("a second offer: %+v", q)
	}
	r.say(conn, wire.FromAgent{Updated: &wire.Updated{Version: "2.0", Outcome: wire.UpdateStarted}})
	conn.CloseNow()
	r.until(d.ID, false)
	conn = r.greets(id, windowsHello("2.0", "amd64"))
	f := r.browser("ann", access.Viewer).follow("tab=t&view=device:" + d.ID)
	r.say(conn, wire.FromAgent{Updated: &wire.Updated{Version: "2.0", Outcome: wire.UpdateDone}})
	f.until("Updated to version 2.0")
	got = deviceDetail{}
	p.do(http.MethodGet, path, "").into(t, &got)
	if got.AgentVersion != "2.0" || got.Update.Outcome != "done" || got.Update.Available != "" {
		t.Errorf("after the update: %+v", got.Update)
	}
}

// TestNoUpdate has everything that is refused, and why.
func TestNoUpdate(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, releasing(t))
	p := r.program("prog", access.Admin)
	ask := func(d store.Device) problem {
		t.Helper()
		return p.do(http.MethodPost, "/api/devices/"+d.ID+"/update", "").problem(t)
	}
	for name, c := range map[string]struct {
		hello  wire.Hello
		code   code
		detail string
	}{
		"the same version":    {windowsHello("2.0", "amd64"), codeNoUpdate, "The device runs version 2.0 already."},
		"Linux":               {goodHello, codeNoUpdate, "Only agents on Windows replace themselves. Install version 2.0 on the device itself."},
		"a missing program":   {windowsHello("1.0", "arm64"), codeNoUpdate, "This engine carries no agent of version 2.0 for the device's processor."},
		"an unknown computer": {windowsHello("1.0", "386"), codeNoUpdate, "This engine carries no agent of version 2.0 for the device's processor."},
		"an old agent": {
			func() wire.Hello { h := windowsHello("0.9", "amd64"); h.Protocol = 0; return h }(), codeNoUpdate,
			"The device's agent is of a version that takes no updates. Install the new version on the device itself.",
		},
	} {
		d, id := r.device("pc", store.Active)
		r.greets(id, c.hello)
		if q := ask(d); q.Code != c.code || q.Detail != c.detail || q.Status != http.StatusConflict {
			t.Errorf("%s: %+v", name, q)
		}
	}
	d, id := r.device("used", store.Active)
	r.greets(id, windowsHello("1.0", "amd64"))
	if a := p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`); a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if q := ask(d); q.Code != codeActive || q.TunnelID == "" || q.Detail != "Somebody uses the device, and an update would end the tunnel." {
		t.Errorf("a used device: %+v", q)
	}
	gone, id := r.device("gone", store.Active)
	r.greets(id, windowsHello("1.0", "amd64")).CloseNow()
	r.until(gone.ID, false)
	if q := ask(gone); q.Code != codeOffline {
		t.Errorf("an offline device: %+v", q)
	}
	if got := strings.Join(r.kinds(), " "); strings.Contains(got, "update") {
		t.Errorf("on record is %s", got)
	}
}

// TestNoRelease has engines that carry nothing which a device would take.
func TestNoRelease(t *testing.T) {
	t.Parallel()
	stranger := ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
	for name, set := range map[string]func(*Config){
		"a build without a publisher": func(c *Config) { c.Publisher = nil },
		"another publisher's":         func(c *Config) { c.Publisher = stranger.Public().(ed25519.PublicKey) },
		"no manifest": func(c *Config) {
			var err error
			if c.Downloads, err = downloads.New(fstest.MapFS{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		r := newRigWith(t, func(c *Config) { releasing(t)(c); set(c) })
		d, id := r.device("pc", store.Active)
		r.greets(id, windowsHello("1.0", "amd64"))
		q := r.program("prog", access.Admin).do(http.MethodPost, "/api/devices/"+d.ID+"/update", "").problem(t)
		if q.Code != codeNoUpdate || q.Detail != "This engine carries no signed release of the agent." {
			t.Errorf("%s: %+v", name, q)
		}
	}
}
