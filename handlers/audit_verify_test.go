package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/store/audit"
)

// TestAuditVerify: the button and the API say what is proven, and find what somebody
// changed; each time is on record with what came of it.
func TestAuditVerify(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/checkpoints.jsonl"
	r := newRigWith(t, func(c *Config) { c.Checkpoints = file })
	p, b := r.program("eve", access.Auditor), r.browser("ann", access.Admin)
	first := r.story("")
	r.sign(file)
	var report audit.Report
	p.do(http.MethodPost, "/api/audit/verify", "").into(t, &report)
	if head, _, _ := r.store.Head(t.Context()); !report.OK() || !report.Vouched || report.Checkpoints != 1 || report.Uncovered != 0 || report.Records != head-1 || report.Note != "" {
		t.Errorf("%+v", report)
	}
	if did := r.last("audit_verified"); did.Actor != "eve" || did.Result != store.Done || did.Detail != report.String() {
		t.Errorf("on record: %+v", did)
	}
	a := b.do(http.MethodPost, "/audit/verify", "", "HX-Request", "true", "HX-Target", "audit-chain")
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "<html") || !strings.Contains(a.body, "records are as they were written.") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := b.do(http.MethodPost, "/audit/verify", "", "Accept", "text/html"); !strings.Contains(a.body, "<html") || !strings.Contains(a.body, "are as they were written.") {
		t.Errorf("without htmx: %d %s", a.StatusCode, a.body)
	}

	r.tamper("DROP TRIGGER audit_fixed", fmt.Sprintf("UPDATE audit SET actor = 'jon' WHERE seq = %d", first))
	var found audit.Report
	p.do(http.MethodPost, "/api/audit/verify", "").into(t, &found)
	if found.Fault == nil || found.Fault.Seq != first || found.Fault.What != audit.Changed || found.Records != first-1 {
		t.Errorf("%+v", found)
	}
	if did := r.last("audit_verified"); did.Result != store.Failed || did.Reason != audit.Changed {
		t.Errorf("on record: %+v", did)
	}
	a = b.do(http.MethodPost, "/audit/verify", "", "HX-Request", "true", "HX-Target", "audit-chain")
	if want := fmt.Sprintf("Record %d does not match its hash", first); !strings.Contains(a.body, want) || !strings.Contains(a.body, "note err") {
		t.Errorf("%s", a.body)
	}
}

// TestAuditVerifyOneAtATime: verifying costs, so a second one waits its turn.
func TestAuditVerifyOneAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("eve", access.Auditor)
	r.audits.verifying.Lock()
	if f := p.do(http.MethodPost, "/api/audit/verify", "").problem(t); f.Code != codeTooMany || f.Retry == 0 {
		t.Errorf("%+v", f)
	}
	r.audits.verifying.Unlock()
	var report audit.Report
	p.do(http.MethodPost, "/api/audit/verify", "").into(t, &report)
	if !report.OK() {
		t.Error(report)
	}
}

// TestAuditKey: a key is the engine's when it is its own, or when its identity signed
// it, now or before it was rotated.
func TestAuditKey(t *testing.T) {
	t.Parallel()
	const context = "borealis audit key v1"
	r, other := newRig(t), newRig(t)
	own, strange := r.keys.AuditKey(), other.keys.AuditKey()
	if err := r.auditKey(own.Public, nil); err != nil {
		t.Errorf("its own key: %v", err)
	}
	if err := r.auditKey(strange.Public, r.keys.Identity.Sign(context, strange.Public)); err != nil {
		t.Errorf("a key that its identity vouches for: %v", err)
	}
	for name, vouch := range map[string][]byte{
		"nobody vouches for": nil, "another identity vouches for": strange.Signature, "was vouched for as something else": r.keys.Identity.Sign("x", strange.Public),
		"has the vouch of another key": own.Signature,
	} {
		if err := r.auditKey(strange.Public, vouch); err == nil {
			t.Errorf("a key is taken that %s", name)
		}
	}
	r.keys.Previous = other.keys.Identity
	if err := r.auditKey(strange.Public, strange.Signature); err != nil {
		t.Errorf("a key that the identity before vouches for: %v", err)
	}
}
