package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"

	"github.com/google/go-cmp/cmp"
)

// described waits until a device's inventory names a processor.
func (r *rig) described(device, cpu string) {
	r.t.Helper()
	changes, stop := r.manager.Watch()
	defer stop()
	for {
		if i, _, err := r.manager.Inventory(r.context(), device); err != nil {
			r.t.Fatal(err)
		} else if i.CPU == cpu {
			return
		}
		select {
		case <-changes:
		case <-r.context().Done():
			r.t.Fatalf("device has no processor %q", cpu)
		}
	}
}

// TestInventory: what an agent says that its device is made of is on its page and in the
// API, for those who may see the device.
func TestInventory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc-1", store.Active, "Oslo")
	summary := "/devices/" + d.ID + "/summary"
	b, p := r.browser("ann", access.Viewer), r.program("prog", access.Viewer)
	if a := p.do(http.MethodGet, "/api/devices/"+d.ID, ""); !strings.Contains(a.body, `"inventory":null`) {
		t.Errorf("before it said anything: %s", a.body)
	}
	if a := b.do(http.MethodGet, summary, "", html...); !strings.Contains(a.body, "Not told yet") {
		t.Errorf("before it said anything: %d", a.StatusCode)
	}
	f := b.follow("tab=t&view=device:" + d.ID)
	f.until("Not told yet")

	conn := r.joinAgent(id)
	booted := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	r.say(conn, wire.FromAgent{Inventory: &wire.Inventory{
		Edition: "Windows 11 Pro 24H2", Build: "10.0.26100.2033", CPU: "Some CPU", Cores: 8, Memory: 16 << 30, LastUser: `CORP\nora`, Booted: booted,
		Disks:    []wire.Disk{{Name: "C:", Kind: "NTFS", Size: 1 << 40, Free: 1 << 35}},
		Adapters: []wire.Adapter{{Name: "Ethernet", MAC: "02:00:00:00:00:01", Addresses: []string{"192.0.2.5/24"}}, {Name: "VPN"}},
		Link:     "wireguard-nt", LinkReason: "The driver is there.", Driver: "1.0", Limits: []string{"Never 3389/tcp."},
	}})
	r.described(d.ID, "Some CPU")
	if live := f.until("Some CPU"); !strings.Contains(live, `id="hardware"`) || !strings.Contains(live, "Never 3389/tcp.") {
		t.Errorf("the open page gets %s", live)
	}
	page := b.do(http.MethodGet, summary, "", html...).body
	for _, want := range []string{
		"Windows 11 Pro 24H2", "10.0.26100.2033", "Some CPU, 8 logical processors", "16.0 GiB", "32.0 GiB free of 1.0 TiB", "192.0.2.5/24",
		`CORP\nora`, "WireGuardNT", "The driver is there.", "This device's own policy:", "Never 3389/tcp.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if page := b.do(http.MethodGet, "/devices/"+d.ID+"/config", "", html...).body; !strings.Contains(page, "Never 3389/tcp.") {
		t.Error("the ports do not name the policy of the device")
	}
	var got deviceDetail
	p.do(http.MethodGet, "/api/devices/"+d.ID, "").into(t, &got)
	if got.Inventory == nil || time.Since(got.Inventory.At) > testTimeout {
		t.Fatalf("%+v", got.Inventory)
	}
	got.Inventory.At = time.Time{}
	want := &inventoryAnswer{
		Edition: "Windows 11 Pro 24H2", Build: "10.0.26100.2033", CPU: "Some CPU", Cores: 8, Memory: 16 << 30, LastUser: `CORP\nora`, Booted: &booted,
		Disks:    []diskAnswer{{"C:", "NTFS", 1 << 40, 1 << 35}},
		Adapters: []adapterAnswer{{"Ethernet", "02:00:00:00:00:01", []string{"192.0.2.5/24"}}, {"VPN", "", []string{}}},
		Link:     "wireguard-nt", LinkReason: "The driver is there.", Driver: "1.0", Limits: []string{"Never 3389/tcp."},
	}
	if diff := cmp.Diff(want, got.Inventory); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}

	if a := r.program("elsewhere", access.Operator, "Bergen").do(http.MethodGet, "/api/devices/"+d.ID, ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("for somebody of another site: %d %s", a.StatusCode, a.body)
	}
}

// TestOwnersDecisionsAreShownAtOnce: each panic stop and each release at the device is on a page that
// is open, and in the API, before the next one comes.
func TestOwnersDecisionsAreShownAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc-1", store.Active)
	p := r.program("prog", access.Viewer)
	f := r.browser("ann", access.Viewer).follow("tab=t&view=device:" + d.ID)
	f.until(`id="own-policy"`)
	conn := r.joinAgent(id)
	const sentence = "Somebody at the device stopped all tunnels."
	for n := range 5 { // With a pause after each, this would take longer than the test may.
		stopped := n%2 == 0
		i := wire.Inventory{CPU: "Some CPU"}
		if stopped {
			i.Limits = []string{sentence}
		}
		r.say(conn, wire.FromAgent{Inventory: &i})
		if live := f.until(`id="own-policy"`); strings.Contains(live, sentence) != stopped {
			t.Errorf("%d: the open page gets %s", n, live)
		}
		var got deviceDetail
		p.do(http.MethodGet, "/api/devices/"+d.ID, "").into(t, &got)
		if got.Inventory == nil || len(got.Inventory.Limits) != len(i.Limits) {
			t.Errorf("%d: the API answers %+v", n, got.Inventory)
		}
	}
}

// TestEmptyInventory: lists without members are lists all the same.
func TestEmptyInventory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc-1", store.Active)
	r.say(r.joinAgent(id), wire.FromAgent{Inventory: &wire.Inventory{CPU: "x"}})
	r.described(d.ID, "x")
	a := r.program("prog", access.Viewer).do(http.MethodGet, "/api/devices/"+d.ID, "")
	for _, want := range []string{`"disks":[]`, `"adapters":[]`, `"limits":[]`, `"booted":null`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is not in %s", want, a.body)
		}
	}
}

// TestHostileInventory: whatever a device says it is made of is text.
func TestHostileInventory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc-1", store.Active)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	i := wire.Inventory{Edition: evil, Build: evil, CPU: evil, LastUser: evil, Link: evil, LinkReason: evil, Driver: evil}
	for range wire.MaxDisks {
		i.Disks = append(i.Disks, wire.Disk{Name: evil, Kind: evil, Size: 1, Free: 1 << 62})
	}
	for range wire.MaxAdapters {
		i.Adapters = append(i.Adapters, wire.Adapter{Name: evil, MAC: evil, Addresses: []string{evil, evil}})
	}
	for range wire.MaxLimits {
		i.Limits = append(i.Limits, evil)
	}
	b := r.browser("ann", access.Admin)
	f := b.follow("tab=t&view=device:" + d.ID)
	r.say(r.joinAgent(id), wire.FromAgent{Inventory: &i})
	r.described(d.ID, evil)
	shown := map[string]string{"the stream": f.until("alert(1)")}
	for _, path := range []string{"/summary", "/config"} {
		shown[path] = b.do(http.MethodGet, "/devices/"+d.ID+path, "", html...).body
	}
	for where, text := range shown {
		if !strings.Contains(text, "alert(1)") {
			t.Errorf("%s does not show the text", where)
		}
		if strings.Contains(text, "<script>") || strings.Contains(text, "<img") {
			t.Errorf("%s: a text is markup", where)
		}
	}
	a := r.program("prog", access.Viewer).do(http.MethodGet, "/api/devices/"+d.ID, "")
	var got deviceDetail
	a.into(t, &got)
	if got.Inventory == nil || got.Inventory.CPU != evil || strings.Contains(a.body, "<script>") {
		t.Errorf("the API answers %s", a.body)
	}
}
