package selftest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/support"
)

// The files of a report.
const (
	reportJSON   = "validation-report.json"
	reportText   = "validation-report.md"
	reportBundle = "support.zip"
)

// writeReport writes the report and, for those who have to find out what failed, the
// support bundle of the engine that was tested.
func (m *matrix) writeReport(ctx context.Context) error {
	b, err := json.MarshalIndent(m.result, "", "  ")
	if err != nil {
		return err
	}
	if err := writeNew(filepath.Join(m.Report, reportJSON), append(b, '\n')); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(m.Report, reportText), m.result.markdown()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkLimit)
	defer cancel()
	if m.engine != nil && m.engine.Manager.Link().Err != nil {
		_ = m.restart(ctx, longIdle, m.udp) // the last check took its port; where that is not why, the bundle says what is
	}
	bundle := support.Bundle{Doctor: doctor.Config{Root: m.root, UDPPort: m.udp}}
	if m.engine != nil {
		bundle.Doctor.Listen = m.engine.Addr().String()
	}
	for _, a := range []*rigAgent{m.a, m.b} {
		if a != nil {
			bundle.Logs = append(bundle.Logs, support.Log{Name: "agent-" + a.name + ".log", Path: a.logPath()})
		}
	}
	return bundle.Write(ctx, filepath.Join(m.Report, reportBundle))
}

// writeNew writes a file for its owner alone that must not be there yet.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// markdown is the report for people.
func (r *Report) markdown() []byte {
	var b bytes.Buffer
	verdict := "All checks passed."
	if n := r.Failed(); n > 0 {
		verdict = fmt.Sprintf("**%d of %d checks failed.**", n, len(r.Checks))
	}
	fmt.Fprintf(&b, "# Borealis validation report\n\n%s\n\n", verdict)
	fmt.Fprintf(&b, "| | |\n|---|---|\n| Borealis | %s |\n| When | %s, %.1f s |\n", cell(r.Version), r.Began.Format(time.RFC3339), r.Took/1000)
	fmt.Fprintf(&b, "| Host | %s, %s %s, %s, %d processors, as %s |\n", cell(r.Host.System), cell(r.Host.OS), cell(r.Host.Kernel), cell(r.Host.Arch), r.Host.CPUs, r.Host.Privilege)
	fmt.Fprintf(&b, "| WireGuard | %s: %s |\n", cell(r.Link), cell(r.Reason))
	checks := slices.Clone(r.Checks)
	order := []string{"functional", "security", "resilience", "logging"}
	slices.SortStableFunc(checks, func(a, b Check) int {
		return cmp.Compare(slices.Index(order, a.Group), slices.Index(order, b.Group))
	})
	group := ""
	for _, c := range checks {
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(&b, "\n## %s%s\n\n| Check | Result | Time | What was seen |\n|---|---|--:|---|\n", strings.ToUpper(group[:1]), group[1:])
		}
		word, detail := "pass", cell(c.Detail)
		if !c.OK {
			word, detail = "**FAIL**", detail+" → "+cell(c.Hint)
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f ms | %s |\n", cell(c.Name), word, c.Took, detail)
	}
	return b.Bytes()
}

// cell is text that can stand in a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;").Replace(s)
}
