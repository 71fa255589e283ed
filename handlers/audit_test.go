package handlers

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"

	"github.com/google/go-cmp/cmp"
	markup "golang.org/x/net/html"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// wholeTrail is every record.
var wholeTrail = store.RecordQuery{Scope: store.Scope{All: true}, Limit: store.MaxPage}

// record adds a record.
func (r *rig) record(line store.Record) {
	r.t.Helper()
	if err := r.store.AddRecord(r.t.Context(), line); err != nil {
		r.t.Fatal(err)
	}
}

// last is the newest record of a kind.
func (r *rig) last(kind string) store.Record {
	r.t.Helper()
	q := wholeTrail
	q.Kind = kind
	lines, err := r.store.Records(r.t.Context(), q)
	if err != nil || len(lines) == 0 {
		r.t.Fatalf("no record of %s: %v", kind, err)
	}
	return lines[0]
}

// tamper changes the database as somebody does who has the file.
func (r *rig) tamper(statements ...string) {
	r.t.Helper()
	conn, err := sqlite.OpenConn(r.path, sqlite.OpenReadWrite)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetBusyTimeout(testTimeout)
	for _, statement := range statements {
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			r.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// storyDay is when the records of these tests were made.
var storyDay = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// story records what several people did, on three days, and returns the first number.
func (r *rig) story(device string) (first int64) {
	r.t.Helper()
	first, _, err := r.store.Head(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.record(store.Record{At: storyDay, Actor: "nora", Source: "203.0.113.24", Kind: "story_begins"})
	r.record(store.Record{At: storyDay.Add(time.Hour), Actor: "jon", Kind: "story_begins", Result: store.Refused, Reason: "wrong_word"})
	r.record(store.Record{At: storyDay.AddDate(0, 0, 1), Actor: "nora", Kind: "story_goes_on", DeviceID: device, Detail: "Chapter Two"})
	r.record(store.Record{At: storyDay.AddDate(0, 0, 2), Kind: "story_ends", DeviceID: device, Result: store.Failed, Target: "the end", Session: "s-1"})
	return first + 1
}

// TestAuditFilters: each parameter chooses what it says, alone and together, in the API
// and on the page.
func TestAuditFilters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("kiosk-7", store.Active)
	p, b := r.program("eve", access.Auditor), r.browser("ann", access.Admin)
	first := r.story(d.ID)
	for query, want := range map[string][]int64{
		"kind=story_begins": {1, 0},
		"actor=nora":        {2, 0},
		"actor=nor":         nil,
		"result=refused":    {1},
		"result=failed":     {3},
		"device=" + d.ID + "&from=2026-11-20&to=2026-11-22": {3, 2},
		"device=unknown":                nil,
		"text=chapter+two":              {2},
		"text=wrong_word":               {1},
		"text=KIOSK-7&actor=nora":       {2},
		"from=2026-11-20&to=2026-11-20": {1, 0},
		"from=2026-11-21&to=2026-11-22": {3, 2},
		"from=2026-11-20T12:30:00Z&to=2026-11-21T12:00:00%2B00:00": {1},
		"text=story&actor=jon&result=refused":                      {1},
		"text=story&result=done&kind=story_ends":                   nil,
	} {
		var answer auditAnswer
		p.do(http.MethodGet, "/api/audit?"+query, "").into(t, &answer)
		var got []int64
		for _, line := range answer.Records {
			got = append(got, line.ID-first)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
		page := b.do(http.MethodGet, "/audit?"+query, "")
		if rows := strings.Count(page.body, `data-testid="audit-record"`); page.StatusCode != http.StatusOK || rows != len(want) {
			t.Errorf("%s: the page is %d and has %d rows, want %d", query, page.StatusCode, rows, len(want))
		}
	}
	var answer auditAnswer
	p.do(http.MethodGet, "/api/audit?kind=story_ends", "").into(t, &answer)
	line := r.last("story_ends")
	want := auditRecord{
		eventAnswer: eventAnswer{ID: line.Seq, At: storyDay.AddDate(0, 0, 2), DeviceID: d.ID, Hostname: "kiosk-7", Kind: "story_ends", Target: "the end", Result: "failed"},
		Session:     "s-1", Hash: fmt.Sprintf("%x", line.Hash),
	}
	if diff := cmp.Diff([]auditRecord{want}, answer.Records, cmp.AllowUnexported(auditRecord{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestAuditFilterMistakes: what cannot be is named; the page says it where it can be
// put right.
func TestAuditFilterMistakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, b := r.program("eve", access.Auditor), r.browser("ann", access.Auditor)
	for query, field := range map[string]string{
		"result=perhaps": "result", "from=yesterday": "from", "to=2026-13-01": "to", "from=2026-11-22&to=2026-11-20": "to",
		"from=2026-11-22T12:00:00": "from", "before=x": "before", "limit=0": "limit", "limit=1000": "limit",
	} {
		if f := p.do(http.MethodGet, "/api/audit?"+query, "").problem(t); f.Code != codeInvalid || f.Field != field {
			t.Errorf("%s: %+v", query, f)
		}
		if field == "before" || field == "limit" {
			continue
		}
		if f := p.do(http.MethodGet, "/api/audit/export?"+query, "").problem(t); f.Code != codeInvalid || f.Field != field {
			t.Errorf("export %s: %+v", query, f)
		}
		a := b.do(http.MethodGet, "/audit?"+query, "")
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `class="note err"`) || strings.Contains(a.body, `data-testid="audit-record"`) {
			t.Errorf("%s: the page is %d", query, a.StatusCode)
		}
	}
	if f := p.do(http.MethodGet, "/api/audit/export?format=xml", "").problem(t); f.Field != "format" {
		t.Errorf("%+v", f)
	}
}

// TestAuditPaging: page by page, older and newer, there is every record once.
func TestAuditPaging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, b := r.program("eve", access.Auditor), r.browser("ann", access.Auditor)
	const records = 2*recordsPerPage + 20
	for i := range records {
		r.record(store.Record{Kind: "paged", Detail: strconv.Itoa(i)})
		r.record(store.Record{Kind: "between"})
	}
	var got []string
	for path := "/api/audit?kind=paged&limit=33"; path != ""; {
		var answer auditAnswer
		p.do(http.MethodGet, path, "").into(t, &answer)
		for _, line := range answer.Records {
			got = append(got, line.Detail)
		}
		path = ""
		if answer.Next != nil {
			path = fmt.Sprintf("/api/audit?kind=paged&limit=33&before=%d", *answer.Next)
		}
	}
	if len(got) != records || got[0] != strconv.Itoa(records-1) || got[records-1] != "0" || !slices.IsSortedFunc(got, func(a, b string) int { return len(b) - len(a) }) {
		t.Errorf("%d records: %q", len(got), got)
	}

	page := func(path string) (rows []string, older, newer string) {
		t.Helper()
		a := b.do(http.MethodGet, path, "")
		root, err := markup.Parse(strings.NewReader(a.body))
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatal(a.StatusCode, err)
		}
		for n := range root.Descendants() {
			attributes := make(map[string]string)
			for _, at := range n.Attr {
				attributes[at.Key] = at.Val
			}
			switch {
			case attributes["data-testid"] == "audit-record":
				rows = append(rows, attributes["id"])
			case attributes["rel"] == "next":
				older = attributes["href"]
			case attributes["rel"] == "prev":
				newer = attributes["href"]
			}
		}
		return rows, older, newer
	}
	newest, older, newer := page("/audit?kind=paged")
	if len(newest) != recordsPerPage || newer != "" {
		t.Errorf("%d rows, newer %q", len(newest), newer)
	}
	middle, oldest, newer := page(older)
	if rows, _, _ := page(newer); len(middle) != recordsPerPage || !slices.Equal(rows, newest) {
		t.Errorf("%d rows in the middle; above are %q", len(middle), rows)
	}
	end, older, newer := page(oldest)
	if rows, _, _ := page(newer); len(end) != 20 || older != "" || !slices.Equal(rows, middle) {
		t.Errorf("%d rows at the end, older %q; above are %q", len(end), older, rows)
	}
}

// TestAuditRights: who may not read the trail gets nothing of it, and does not cause a
// record of having taken it.
func TestAuditRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, role := range []string{access.Viewer, access.Operator} {
		c := r.browser("b-"+role, role)
		for path, method := range map[string]string{
			"/audit": http.MethodGet, "/audit/export": http.MethodGet, "/audit/verify": http.MethodPost,
			"/api/audit": http.MethodGet, "/api/audit/export?format=csv": http.MethodGet, "/api/audit/verify": http.MethodPost,
		} {
			if f := c.do(method, path, "").problem(t); f.Code != codeForbidden {
				t.Errorf("%s as %s: %+v", path, role, f)
			}
		}
	}
	if kinds := r.kinds(); slices.ContainsFunc(kinds, func(k string) bool { return strings.HasPrefix(k, "audit_") }) {
		t.Errorf("on record: %v", kinds)
	}
	for _, role := range []string{access.Auditor, access.Admin} {
		if a := r.browser("b-"+role, role).do(http.MethodGet, "/audit", ""); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", role, a.StatusCode)
		}
	}
}

// TestAuditPageIsHarmless: whatever is on record, the page and the files carry it as
// text.
func TestAuditPageIsHarmless(t *testing.T) {
	t.Parallel()
	const evil = `=cmd()"><script>alert(1)</script>` + "\x1b[2J\u202e"
	r := newRig(t)
	c := r.browser("eve", access.Auditor)
	r.record(store.Record{Kind: evil, Actor: evil, Source: evil, Target: evil, Reason: evil, Detail: evil})
	for _, path := range []string{"/audit", "/activity", "/audit?text=" + url.QueryEscape(evil), "/audit?kind=" + url.QueryEscape(evil) + "&actor=" + url.QueryEscape(evil)} {
		if a := c.do(http.MethodGet, path, ""); a.StatusCode != http.StatusOK || strings.Contains(a.body, "<script>alert") || strings.ContainsAny(a.body, "\x1b\u202e") {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if a := c.do(http.MethodGet, "/audit/export", ""); strings.ContainsAny(a.body, "\x1b") || bytes.Contains([]byte(a.body), []byte("<script>")) {
		t.Error("JSON lines carry control characters or markup")
	}
	rows, err := csv.NewReader(strings.NewReader(c.do(http.MethodGet, "/audit/export?format=csv", "").body)).ReadAll()
	if err != nil || !slices.ContainsFunc(rows, func(row []string) bool { return row[2] == "'"+evil }) {
		t.Errorf("%q, %v", rows, err)
	}
}
