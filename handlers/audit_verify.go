package handlers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"time"

	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
	"borealis/views"

	"github.com/a-h/templ"
)

// verifyTimeout is how long verifying may take; a million records take some seconds.
const verifyTimeout = time.Minute

// auditKey returns nil for a key that checkpoints of this engine are signed with: its
// own, or one that its identity vouches for, or the identity before that.
func (s *Server) auditKey(key ed25519.PublicKey, vouch []byte) error {
	k := s.config.Keys
	if bytes.Equal(key, k.AuditKey().Public) {
		return nil
	}
	claim := keys.SignedKey{Public: key, Signature: vouch}
	err := claim.Check(k.Identity.Public())
	if err != nil && k.Previous != nil {
		err = claim.Check(k.Previous.Public())
	}
	return err
}

// verifyAudit checks the trail against its checkpoints, and puts on record that
// somebody did and what came of it.
func (s *Server) verifyAudit(ctx context.Context, p principal) (audit.Report, error) {
	if !s.audits.verifying.TryLock() {
		f := refuse(codeTooMany, "The audit trail is being verified already.")
		f.retry = 5 * time.Second
		return audit.Report{}, f
	}
	defer s.audits.verifying.Unlock()
	var files []string
	if s.config.Checkpoints != "" {
		files = []string{s.config.Checkpoints}
	}
	limited, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	report, err := audit.VerifyStore(limited, s.config.Store, files, audit.Options{Vouched: s.auditKey})
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return report, refuse(codeUnverified, "Verifying took longer than %s; %d records were checked and found right.", verifyTimeout, report.Records)
	}
	if err != nil {
		return report, err
	}
	did := store.Record{Kind: "audit_verified", Detail: report.String()}.By(p.actor())
	if report.Fault != nil {
		did.Result, did.Reason = store.Failed, report.Fault.What
	}
	return report, s.config.Store.AddRecord(ctx, did)
}

// auditVerifyPage is the Verify button.
func (s *Server) auditVerifyPage(r *http.Request, p principal) (templ.Component, error) {
	report, err := s.verifyAudit(r.Context(), p)
	if err != nil {
		return nil, err
	}
	checked := views.Note{Kind: "ok", Text: report.String()}
	if report.Fault != nil {
		checked = views.Note{
			Kind: "err", Text: report.String(),
			Hint: "Keep a copy of the database and of the engine's logs, and compare them with a backup and with what a log server got.",
		}
	}
	if !isPart(r, "audit-chain") {
		return s.auditView(r, p, checked)
	}
	v, err := s.auditState(r.Context())
	v.Now, v.Checked = time.Now(), checked
	return views.AuditChain(v), err
}
