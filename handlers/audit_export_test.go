package handlers

import (
	"crypto/ed25519"
	"encoding/csv"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
)

// TestAuditExport: what is exported is the whole trail, with the record of the export
// itself, and proves itself offline to whoever has the engine's identity.
func TestAuditExport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("kiosk-7", store.Active)
	c := r.browser("eve", access.Auditor)
	r.story(d.ID)
	files := t.TempDir() + "/checkpoints.jsonl"
	r.sign(files)
	a := c.do(http.MethodGet, "/audit/export", "")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != audit.JSONLines.MediaType() || !strings.HasPrefix(a.Header.Get("Content-Disposition"), `attachment; filename="borealis-audit-`) {
		t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	source, err := audit.ReadExport(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	pin, err := keys.ParsePin(source.Engine())
	if err != nil || pin != r.keys.Identity.Pin() {
		t.Errorf("it is of the engine %q, %v", source.Engine(), err)
	}
	checkpoints, err := r.store.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(t.Context(), source, audit.Options{Checkpoints: checkpoints, Vouched: r.vouched, Engine: pin.String()})
	head, _, _ := r.store.Head(t.Context())
	if err != nil || !report.OK() || report.Checkpoints != 1 || report.Records != head {
		t.Errorf("%s, %v; the trail has %d", report, err, head)
	}
	did := r.last("audit_exported")
	if did.Actor != "eve" || did.Session == "" || did.Source == "" || did.Detail != "jsonl" || !strings.Contains(a.body, `"kind":"audit_exported"`) {
		t.Errorf("on record: %+v", did)
	}

	filtered := c.do(http.MethodGet, "/api/audit/export?actor=nora&format=jsonl", "")
	if lines := strings.Count(filtered.body, "\n"); lines != 3 || !strings.Contains(filtered.body, `"filter":"actor=nora","note":"this export is filtered and cannot be verified by itself"`) {
		t.Errorf("%d lines: %s", lines, filtered.body)
	}
	rows, err := csv.NewReader(strings.NewReader(c.do(http.MethodGet, "/audit/export?format=csv&actor=nora&text=chapter", "").body)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][2] != "nora" || rows[1][7] != "kiosk-7" {
		t.Errorf("%q, %v", rows, err)
	}
	if did := r.last("audit_exported"); did.Detail != "csv actor=nora&text=chapter" {
		t.Errorf("on record: %+v", did)
	}
	// The connection serves other requests after an export.
	if a := c.do(http.MethodGet, "/audit", ""); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

// vouched checks a key by the engine's identity alone, as somebody does elsewhere.
func (r *rig) vouched(key ed25519.PublicKey, vouch []byte) error {
	return keys.SignedKey{Public: key, Signature: vouch}.Check(r.keys.Identity.Public())
}

// sign makes a checkpoint of what is there, as the engine does.
func (r *rig) sign(file string) {
	r.t.Helper()
	made := make(chan store.Checkpoint, 2)
	s, err := audit.NewSigner(audit.Config{
		Store: r.store, Key: r.keys.Audit, Vouch: r.keys.AuditKey().Signature, File: file, Notify: func(c store.Checkpoint) { made <- c },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := contextWithStop(r.t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-made:
	case <-r.context().Done():
		r.t.Error("no checkpoint was made")
	}
	stop()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

// TestAuditNeedsItsRecord: when it cannot be recorded that the trail is taken or
// verified, nothing of it is sent.
func TestAuditNeedsItsRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.browser("eve", access.Auditor)
	r.tamper("CREATE TRIGGER spoilt BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END")
	for _, path := range []string{"/api/audit/export", "/audit/export?format=csv"} {
		if a := c.do(http.MethodGet, path, ""); a.StatusCode < 500 || strings.Contains(a.body, "operator_added") {
			t.Errorf("%s: %d %.200s", path, a.StatusCode, a.body)
		}
	}
	if a := c.do(http.MethodPost, "/api/audit/verify", ""); a.StatusCode < 500 || strings.Contains(a.body, "records") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestAuditExportsAreBounded: somebody who takes many at once has to wait.
func TestAuditExportsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.browser("eve", access.Auditor)
	r.audits.exports.Add(maxExports)
	if f := c.do(http.MethodGet, "/audit/export", "").problem(t); f.Code != codeTooMany || f.Retry == 0 {
		t.Errorf("%+v", f)
	}
	r.audits.exports.Add(-maxExports)
	for range maxExports + 1 { // each gives its place back
		if a := c.do(http.MethodGet, "/audit/export", ""); a.StatusCode != http.StatusOK {
			t.Errorf("%d", a.StatusCode)
		}
	}
}
