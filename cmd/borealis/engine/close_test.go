package engine

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"sync"
	"testing"
	"time"

	"borealis/agent"
	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel"
	"borealis/tunnel/wg"
)

// TestCloseOrder ends an engine under a live tunnel. The agent is told why the tunnel ends, the end is
// recorded, and the last checkpoint covers that record: so tunnels end before the channels to agents
// do, what signs comes after them, and the database closes when all of it is written.
func TestCloseOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	root := newRoot(t)
	e := begun(t, root, 0)
	log := &downLog{lines: make(chan string, 4)}
	device := runAgent(t, ctx, e, slog.New(slog.NewTextHandler(log, nil)))
	live, err := e.Manager.Connect(ctx, device, holder(t, e), tunnel.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Manager.WaitUp(ctx, live.TunnelID, nil); err != nil {
		t.Fatal(err)
	}

	e.Close()

	if e.Store.AddRecord(ctx, store.Record{Kind: "test"}) == nil {
		t.Error("the database is open after Close")
	}
	select {
	case told := <-log.lines:
		if told != string(tunnel.EngineShutdown) {
			t.Errorf("the agent was told %s", told)
		}
	case <-ctx.Done():
		t.Error("the agent was not told")
	}
	after, report := lookedAt(t, root, live.TunnelID)
	if after.EndedAt.IsZero() || after.Reason != string(tunnel.EngineShutdown) {
		t.Errorf("the tunnel's row says %q, at %s", after.Reason, after.EndedAt)
	}
	if !report.OK() || report.Uncovered != 0 {
		t.Errorf("the trail: %s", report)
	}
}

// A downLog takes from an agent's log why its tunnels went down.
type downLog struct{ lines chan string }

var downLine = regexp.MustCompile(`msg=tunnel_down .*reason=(\S+)`)

func (l *downLog) Write(b []byte) (int, error) {
	if found := downLine.FindSubmatch(bytes.TrimSpace(b)); found != nil {
		l.lines <- string(found[1])
	}
	return len(b), nil
}

// runAgent runs an agent until the test ends and returns its device's id when the engine sees it.
func runAgent(t *testing.T, ctx context.Context, e *Engine, log *slog.Logger) (device string) {
	t.Helper()
	now, data := time.Now(), t.TempDir()
	code, err := AddCode(ctx, e.Store, e.Keys.Identity.Pin(), e.AgentAddress(), store.Code{Uses: 1, AutoApprove: true, CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := agent.Enrol(ctx, agent.EnrolConfig{Data: data, Code: code})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(agent.Config{Data: data, Link: wg.Netstack, Shell: "/bin/sh", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	life, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		if err := a.Run(life); err != nil {
			t.Errorf("the agent: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		work.Wait()
	})
	if err := e.Await(ctx, enrolled.DeviceID, true); err != nil {
		t.Fatal(err)
	}
	return enrolled.DeviceID
}

// holder is the administrator with an API token.
func holder(t *testing.T, e *Engine) tunnel.Holder {
	t.Helper()
	if _, err := AddToken(t.Context(), e.Store, "admin", "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	all, err := e.Store.APITokens(t.Context(), "")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d tokens: %v", len(all), err)
	}
	return tunnel.Holder{OperatorID: all[0].OperatorID, Operator: "admin", Session: all[0].ID}
}

// lookedAt reads what is left of a tunnel, and checks the trail.
func lookedAt(t *testing.T, root Root, id string) (row store.Tunnel, report audit.Report) {
	t.Helper()
	identity, err := ReadIdentity(root.Identity())
	if err != nil {
		t.Fatal(err)
	}
	err = root.With(t.Context(), func(s *store.Store) (err error) {
		if row, err = s.Tunnel(t.Context(), id); err != nil {
			return err
		}
		report, err = VerifyStore(t.Context(), s, root, nil, identity)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row, report
}
