package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/acl"
	"borealis/handlers/access"
	"borealis/store"

	"github.com/google/uuid"
)

// A tenant is a site with a device, its live tunnel, and somebody who works there.
type tenant struct {
	site, person, label string
	device              store.Device
	waiting             store.Device // a device that waits for approval
	tunnel              string
	operator            store.Operator
	session             string   // id of the operator's session
	words               []string // that only this tenant may read
	ids                 []string
}

// newTenant makes a site with all that there can be. Its names are found nowhere else.
func (r *rig) newTenant(name string) *tenant {
	r.t.Helper()
	v := &tenant{site: "site-" + name, person: "person-" + name, label: "label-" + name}
	v.waiting, _ = r.device("waits-"+name, store.Pending, v.site)
	device := r.realAgent(v.site)
	if err := r.store.UpdateDevice(r.t.Context(), device, store.DeviceFacts{Hostname: "host-" + name, Seen: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	p := r.program(v.person, access.Operator, v.site)
	var made connectAnswer
	p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+device+`"}`).into(r.t, &made)
	st, err := r.manager.WaitUp(r.context(), made.TunnelID, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	v.tunnel = st.TunnelID
	d, err := r.store.Device(r.t.Context(), device)
	if err != nil {
		r.t.Fatal(err)
	}
	v.device = d
	if v.operator, err = r.store.OperatorByName(r.t.Context(), v.person); err != nil {
		r.t.Fatal(err)
	}
	cookie := r.session(v.operator, store.Session{ExpiresAt: time.Now().Add(time.Hour)})
	session, _, err := r.store.SessionByHash(r.t.Context(), HashSecret(cookie))
	if err != nil {
		r.t.Fatal(err)
	}
	v.session = session.ID
	for _, id := range []string{v.waiting.ID, d.ID} {
		made := store.Inventory{Document: `{"cpu":"cpu-` + name + `","limits":["limit-` + name + `"]}`}
		if err := r.store.SetInventory(r.t.Context(), id, made); err != nil {
			r.t.Fatal(err)
		}
	}
	port := acl.Override{Port: acl.Port{Protocol: acl.TCP, From: 4711, To: 4711}, Label: v.label, Allowed: true}
	if _, err := r.manager.SetPorts(r.t.Context(), d.ID, 0, []acl.Override{port}, store.Actor{Name: v.person}); err != nil {
		r.t.Fatal(err)
	}
	v.words = []string{v.site, v.person, v.label, "cpu-" + name, "limit-" + name, d.Hostname, v.waiting.Hostname, d.ID, v.waiting.ID, d.Pin, v.tunnel, st.VirtualIP.String() + "<", `"` + st.VirtualIP.String() + `"`}
	v.ids = []string{d.ID, v.waiting.ID, v.tunnel, v.operator.ID, v.session}
	return v
}

// leaks are the words of a tenant that a text has, but for those that were asked with.
func (v *tenant) leaks(text, asked string) (found []string) {
	for _, word := range v.words {
		if strings.Contains(text, word) && !strings.Contains(asked, word) {
			found = append(found, word)
		}
	}
	return found
}

// TestTwoTenants asks every route of the table with the ids of another tenant, as
// somebody of this one: the answers are those for ids that nobody has, and hold nothing
// of the other one.
func TestTwoTenants(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mine, other := r.newTenant("mine"), r.newTenant("other")
	before := r.trail(other)
	asked := 0
	for _, role := range []string{access.Viewer, access.Operator} {
		somebody := r.operatorWith("us-"+role, role, mine.site)
		for _, row := range r.table() {
			if row.pattern == "/events" || row.pattern == "/logout" || strings.HasPrefix(row.pattern, "/verify") || row.method == http.MethodHead || row.needs == anyone || !access.May(role, row.needs) && role == access.Viewer {
				continue
			}
			c := r.stranger()
			c.cookie = r.session(somebody, store.Session{ExpiresAt: time.Now().Add(time.Hour)})
			var unknown []answer
			for _, q := range variants(row, uuid.NewString()) {
				unknown = append(unknown, c.do(row.method, q.path, q.body, q.headers...))
			}
			for _, id := range other.ids {
				for i, q := range variants(row, id) {
					asked++
					a, b := c.do(row.method, q.path, q.body, q.headers...), unknown[i]
					if a.StatusCode == http.StatusTooManyRequests || b.StatusCode == http.StatusTooManyRequests {
						continue // a password or a code was asked for too often
					}
					what := fmt.Sprintf("%s %s %s as a %s", row.method, q.path, q.body, role)
					if a.StatusCode != b.StatusCode || a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
						t.Errorf("%s: %d, and %d for an unknown id: %.200s", what, a.StatusCode, b.StatusCode, a.body)
					} else if strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem") && a.problem(t).Code != b.problem(t).Code {
						t.Errorf("%s: %s, and %s for an unknown id", what, a.body, b.body)
					}
					if strings.Contains(row.pattern, "{id}") && strings.HasPrefix(strings.TrimPrefix(row.pattern, "/api"), "/devices") && a.StatusCode < 400 && a.StatusCode != http.StatusSeeOther {
						t.Errorf("%s: %d %.200s", what, a.StatusCode, a.body)
					}
					if found := other.leaks(a.body+fmt.Sprint(a.Header), what); len(found) > 0 {
						t.Errorf("%s tells %q", what, found)
					}
				}
			}
		}
		// What a page is told while it is open.
		c := r.stranger()
		c.cookie = r.session(somebody, store.Session{ExpiresAt: time.Now().Add(time.Hour)})
		for view, want := range map[string]string{"devices": mine.device.Hostname, "tunnels": mine.device.Hostname, "": `id="nav"`, "device:" + mine.device.ID: mine.device.Hostname} {
			text := c.listen(r, view, mine, other)
			if found := other.leaks(text, ""); len(found) > 0 || !strings.Contains(text, want) {
				t.Errorf("the stream of %q tells %q, has %q: %v", view, found, want, strings.Contains(text, want))
			}
		}
		for _, id := range other.ids {
			if a := c.do(http.MethodGet, "/events?view=device:"+id, ""); a.problem(t).Code != codeUnknownDevice {
				t.Errorf("a stream of another tenant's device: %d %s", a.StatusCode, a.body)
			}
		}
	}
	if asked < 500 {
		t.Errorf("only %d requests were made", asked)
	}
	if after := r.trail(other); after != before {
		t.Errorf("something of the other tenant changed:\n%s\nwas\n%s", after, before)
	}
}

// A variant is one way to put an id into a request.
type variant struct {
	path, body string
	headers    []string
}

// variants are the ways to put an id into a request of a route.
func variants(row route, id string) (all []variant) {
	path := row.pattern
	for _, name := range []string{"{id}", "{session}", "{token}", "{passkey}", "{kind}"} {
		path = strings.ReplaceAll(path, name, id)
	}
	path = strings.NewReplacer("{act}", "set", "{tab}", "summary").Replace(path)
	all = append(all, variant{path: path})
	if row.method == http.MethodGet {
		for _, name := range []string{"device_id", "tunnel_id", "device", "tunnel", "id", "operator", "before", "q", "text", "target"} {
			all = append(all, variant{path: path + "?" + name + "=" + id})
		}
		return all
	}
	all = append(all, variant{path: path + "?device_id=" + id}, variant{path: path + "?tunnel_id=" + id})
	for _, name := range []string{"device_id", "tunnel_id", "id", "target", "replaces"} {
		all = append(all,
			variant{path, `{"` + name + `":"` + id + `"}`, []string{"Content-Type", "application/json"}},
			variant{path, name + "=" + id, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		)
	}
	if strings.HasSuffix(path, "/ports") {
		all = append(all, variant{path, `{"services":{},"custom":[]}`, []string{"If-Match", `"1"`}})
	}
	return all
}

// listen reads what a page is told at first, and after changes to another tenant's device
// and then to one of its own, whose name is lengthened to tell when it is through.
func (c *client) listen(r *rig, view string, mine, other *tenant) string {
	r.t.Helper()
	f := c.follow("tab=x&view=" + view)
	defer f.close()
	_, text := f.next()
	if view == "" {
		return text
	}
	for _, everything := range []bool{false, true} {
		longer := mine.device.Hostname + "-" + newSecret()[:8]
		r.rename(other, other.device.Hostname+"-"+newSecret()[:8])
		r.rename(mine, longer)
		if everything {
			r.manager.Changed("")
		}
		for !strings.Contains(text, longer) {
			name, data := f.next()
			if name == "" {
				r.t.Fatalf("the stream of %q ended", view)
			}
			text += data
		}
	}
	return text
}

// rename changes what a tenant's device calls itself, and tells the pages.
func (r *rig) rename(v *tenant, hostname string) {
	r.t.Helper()
	if err := r.store.UpdateDevice(r.t.Context(), v.device.ID, store.DeviceFacts{Hostname: hostname, Seen: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	r.manager.Changed(v.device.ID)
}

// trail is what is known of a tenant: its devices, its tunnel, its ports, and how many
// records there are of them.
func (r *rig) trail(v *tenant) string {
	r.t.Helper()
	var text strings.Builder
	for _, id := range []string{v.device.ID, v.waiting.ID} {
		d, err := r.store.Device(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		n, err := r.store.CountRecords(r.t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: id})
		if err != nil {
			r.t.Fatal(err)
		}
		revision, _, err := r.store.Overrides(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		fmt.Fprintln(&text, d.ID, d.State, d.Site, n, "records, ports", revision)
	}
	st, err := r.manager.Status(r.t.Context(), v.device.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintln(&text, st.TunnelID, st.State, st.Operators)
	sessions, err := r.store.Sessions(r.t.Context(), v.operator.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintln(&text, len(sessions), "sessions")
	return text.String()
}

// TestScopedLists: what people of one site see of lists and counts is theirs.
func TestScopedLists(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mine, other := r.newTenant("mine"), r.newTenant("other")
	b := r.browser("us", access.Operator, mine.site)
	for path, want := range map[string]string{
		"/devices": mine.device.Hostname, "/tunnels": mine.device.Hostname, "/activity": mine.device.Hostname,
		"/api/devices": mine.device.Hostname, "/api/tunnels": mine.tunnel, "/api/activity": mine.device.ID,
		"/devices?site=" + mine.site: mine.device.Hostname, "/devices?state=pending": mine.waiting.Hostname,
	} {
		a := b.do(http.MethodGet, path, "")
		if found := other.leaks(a.body, ""); a.StatusCode != http.StatusOK || len(found) > 0 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d, tells %q, has %q: %v", path, a.StatusCode, found, want, strings.Contains(a.body, want))
		}
	}
	var devices devicesAnswer
	for path, want := range map[string]int{
		"/api/devices": 2, "/api/devices?site=" + mine.site: 2, "/api/devices?site=" + other.site: 0, "/api/devices?state=pending": 1,
		"/api/devices?q=" + other.device.Hostname: 0, "/api/devices?site=nowhere": 0,
	} {
		if b.do(http.MethodGet, path, "").into(t, &devices); devices.Total != want || len(devices.Devices) != want {
			t.Errorf("%s: %d of %d, want %d", path, len(devices.Devices), devices.Total, want)
		}
	}
	var tunnels tunnelsAnswer
	if b.do(http.MethodGet, "/api/tunnels", "").into(t, &tunnels); tunnels.Total != 1 {
		t.Errorf("%d tunnels", tunnels.Total)
	}
	if page := b.do(http.MethodGet, "/devices", "").body; strings.Count(page, `class="nav-count">2<`)+strings.Count(strings.Join(strings.Fields(page), ""), `class="nav-count">2<`) == 0 {
		t.Errorf("the number of devices in the navigation is not 2")
	}
	if a := b.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+other.device.ID+`"}`); a.problem(t).Code != codeUnknownDevice {
		t.Errorf("%s", a.body)
	}
	if a := b.do(http.MethodDelete, "/api/tunnel/disconnect", `{"tunnel_id":"`+other.tunnel+`"}`); a.problem(t).Code != codeDown {
		t.Errorf("%s", a.body)
	}
	var left disconnectAnswer
	r.browser("boss", access.Admin).do(http.MethodDelete, "/api/tunnel/disconnect", `{"tunnel_id":"`+other.tunnel+`","force":true}`).into(t, &left)
	if left.TunnelID != other.tunnel {
		t.Errorf("%+v", left)
	}
}
