package selftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
)

// reasonsAgree compares what the logs, the activity and the audit trail say of every tunnel
// that ended.
func (m *matrix) reasonsAgree(ctx context.Context) (string, error) {
	var said []string
	tunnels := 0
	for _, a := range []*rigAgent{m.a, m.b} {
		if a == nil {
			return "", errNoTunnel
		}
		rows, err := m.engine.Store.Tunnels(ctx, a.device, store.MaxPage)
		if err != nil {
			return "", err
		}
		for _, row := range rows {
			if row.UpAt.IsZero() || row.EndedAt.IsZero() {
				continue
			}
			if err := m.reasonAgrees(ctx, a, row); err != nil {
				return "", fmt.Errorf("tunnel %s of agent %s ended as %s: %w", row.ID, a.name, row.Reason, err)
			}
			tunnels++
			said = append(said, row.Reason)
		}
	}
	if tunnels == 0 {
		return "", errors.New("no tunnel has ended")
	}
	slices.Sort(said)
	return fmt.Sprintf("%d tunnels: %v", tunnels, slices.Compact(said)), nil
}

// reasonAgrees waits until the end of a tunnel stands everywhere with its reason.
func (m *matrix) reasonAgrees(ctx context.Context, a *rigAgent, row store.Tunnel) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit/8)
	defer cancel()
	for {
		err := m.reasonStands(ctx, a, row)
		if err == nil {
			return nil
		}
		if wait(ctx, 4*pollEvery) != nil {
			return err
		}
	}
}

func (m *matrix) reasonStands(ctx context.Context, a *rigAgent, row store.Tunnel) error {
	line := regexp.MustCompile(`msg=tunnel_down .*tunnel=` + row.ID + `.* reason=(\S+)`)
	for where, path := range map[string]string{"engine's log": m.root.Log(), "agent's log": a.logPath()} {
		log, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found := line.FindSubmatch(log)
		if found == nil {
			return fmt.Errorf("the %s does not say that", where)
		}
		if got := string(found[1]); got != row.Reason {
			return fmt.Errorf("the %s says %s", where, got)
		}
	}
	var all struct {
		Activity []struct {
			Kind, Reason string
			Tunnel       string `json:"tunnel_id"`
		}
	}
	if err := m.web.call(ctx, http.MethodGet, "/api/activity?limit=500&device_id="+a.device, nil, &all); err != nil {
		return err
	}
	for _, e := range all.Activity {
		if e.Kind == "tunnel_down" && e.Tunnel == row.ID && e.Reason == row.Reason {
			return nil
		}
	}
	return errors.New("the activity of the device does not say that")
}

// trailVerifies checks every hash and every signed checkpoint.
func (m *matrix) trailVerifies(ctx context.Context) (string, error) {
	identity, err := engine.ReadIdentity(m.root.Identity())
	if err != nil {
		return "", err
	}
	report, err := engine.VerifyStore(ctx, m.engine.Store, m.root, nil, identity)
	if err == nil && !report.OK() {
		err = report.Fault
	}
	return report.String(), err
}

// tamperingFound changes one letter in a copy of the audit trail.
func (m *matrix) tamperingFound(ctx context.Context) (string, error) {
	identity, err := engine.ReadIdentity(m.root.Identity())
	if err != nil {
		return "", err
	}
	var trail bytes.Buffer
	selection := audit.Selection{Query: store.RecordQuery{Scope: store.Scope{All: true}}, Engine: keys.PinOf(identity).String()}
	if err := audit.Export(ctx, m.engine.Store, &trail, audit.JSONLines, selection); err != nil {
		return "", err
	}
	path := filepath.Join(m.dir, "trail.jsonl")
	for _, tampered := range []bool{false, true} {
		text := trail.Bytes()
		if tampered {
			text = bytes.Replace(text, []byte("operator_disconnect"), []byte("operator_Disconnect"), 1)
			if bytes.Equal(text, trail.Bytes()) {
				return "", errNoTunnel
			}
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return "", err
		}
		report, err := engine.VerifyExport(ctx, path, nil, identity)
		if err != nil {
			return "", err
		}
		if report.OK() == tampered {
			return "", fmt.Errorf("a copy that was changed: %t, and verified: %t: %s", tampered, report.OK(), report)
		}
		if tampered {
			return report.Fault.Meaning, nil
		}
	}
	return "", nil
}
