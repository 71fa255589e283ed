package engine

import (
	"context"
	"fmt"
	"path/filepath"

	"borealis/cmd/hint"
	"borealis/store/audit"
)

// forwarder makes what sends the trail of an engine away.
func (s Syslog) forwarder(e *Engine) (*audit.Forwarder, error) {
	tls, err := audit.SyslogTLS(s.CA, s.Cert, s.Key)
	if err != nil {
		return nil, hint.Usage(fmt.Sprintf("--syslog: %v", err))
	}
	forwarder, err := audit.NewForwarder(audit.ForwarderConfig{
		Store: e.Store, Address: s.Address, TLS: tls, Logger: e.config.Logger,
		Cursor: filepath.Join(string(e.config.Data), "Engine", "syslog_cursor"),
	})
	if err != nil {
		return nil, hint.Usage(fmt.Sprintf("--syslog: %v", err))
	}
	return forwarder, nil
}

// startAudit starts what signs the audit trail and sends it away.
func (e *Engine) startAudit(ctx context.Context) error {
	signing := audit.Config{
		Store: e.Store, Key: e.Keys.Audit, Vouch: e.Keys.AuditKey().Signature, File: e.config.Data.Checkpoints(), Logger: e.config.Logger,
	}
	if e.config.Syslog.Address != "" {
		forwarder, err := e.config.Syslog.forwarder(e)
		if err != nil {
			return err
		}
		signing.Notify, e.sent = forwarder.Checkpoint, forwarder.Sent
		e.begin(ctx, forwarder.Run)
	}
	signer, err := audit.NewSigner(signing)
	if err != nil {
		return fmt.Errorf("sign the audit trail: %w", err)
	}
	e.begin(ctx, signer.Run) // after the forwarder, and so ended before it: the last checkpoint is sent
	return nil
}

// begin starts what works until the engine is closed.
func (e *Engine) begin(ctx context.Context, run func(context.Context) error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(life); err != nil {
			e.config.Logger.ErrorContext(life, "audit_failed", "err", err)
		}
	}()
	e.background = append(e.background, func() {
		stop()
		<-ended
	})
}
