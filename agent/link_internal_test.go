package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"borealis/agent/driver"
	"borealis/tunnel/wg"
)

func TestChooseDataplane(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken\nin two lines")
	found := driver.Driver{Path: `C:\wireguard.dll`, Version: "1.1"}
	platformOf := func(find, open error) *platform {
		return &platform{
			find: func() (driver.Driver, error) { return found, find },
			open: func(_ context.Context, c wg.AdapterConfig) (*wg.Adapter, error) {
				if c.DLL != found.Path {
					t.Errorf("it loads %q", c.DLL)
				}
				return new(wg.Adapter), open
			},
		}
	}
	never := &platform{
		find: func() (driver.Driver, error) { t.Error("it looks for a driver"); return found, nil },
		open: func(context.Context, wg.AdapterConfig) (*wg.Adapter, error) { t.Error("it loads"); return nil, broken },
	}
	absent := fmt.Errorf("%w in a folder", driver.ErrAbsent)
	for name, c := range map[string]struct {
		mode     wg.Mode
		platform *platform
		want     dataplane // Reason is a part of it.
		fails    error
	}{
		"no platform":             {wg.Auto, nil, dataplane{mode: wg.Netstack, reason: "stay inside the agent"}, nil},
		"a driver":                {wg.Auto, platformOf(nil, nil), dataplane{mode: wg.NT, reason: "of an administrator", driver: "1.1"}, nil},
		"a driver, as asked":      {wg.NT, platformOf(nil, nil), dataplane{mode: wg.NT, reason: asked, driver: "1.1"}, nil},
		"no choice said":          {"", platformOf(nil, nil), dataplane{mode: wg.NT, reason: "of an administrator", driver: "1.1"}, nil},
		"no driver":               {wg.Auto, platformOf(absent, nil), dataplane{mode: wg.Netstack, reason: "There is no WireGuardNT driver", wanting: true}, nil},
		"a forged driver":         {wg.Auto, platformOf(driver.ErrSignature, nil), dataplane{mode: wg.Netstack, reason: driver.ErrSignature.Error() + ". "}, nil},
		"a driver that fails":     {wg.Auto, platformOf(nil, broken), dataplane{mode: wg.Netstack, reason: "broken; in two lines. "}, nil},
		"netstack as asked":       {wg.Netstack, never, dataplane{mode: wg.Netstack, reason: asked}, nil},
		"no driver, but asked":    {wg.NT, platformOf(absent, nil), dataplane{}, driver.ErrAbsent},
		"fails, but asked":        {wg.NT, platformOf(nil, broken), dataplane{}, broken},
		"no platform, but asked":  {wg.NT, nil, dataplane{}, errors.ErrUnsupported},
		"netstack, no platform":   {wg.Netstack, nil, dataplane{mode: wg.Netstack, reason: asked}, nil},
		"signed by somebody else": {wg.NT, platformOf(driver.ErrSignature, nil), dataplane{}, driver.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(t.Context(), c.mode, c.platform, slog.New(slog.DiscardHandler))
			if !errors.Is(err, c.fails) {
				t.Fatalf("got %v, want %v", err, c.fails)
			}
			if err != nil {
				return
			}
			if got.mode != c.want.mode || got.driver != c.want.driver || got.wanting != c.want.wanting {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if !strings.Contains(got.reason, c.want.reason) || strings.Contains(got.reason, "\n") {
				t.Errorf("the reason is %q, want %q", got.reason, c.want.reason)
			}
			if has := got.adapter != nil; has != (c.want.mode == wg.NT) {
				t.Errorf("adapter: %t", has)
			}
			if err := got.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestChooseWhileStopping fails nobody's stop, whatever was asked for.
func TestChooseWhileStopping(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &platform{
		find: func() (driver.Driver, error) { return driver.Driver{}, nil },
		open: func(ctx context.Context, _ wg.AdapterConfig) (*wg.Adapter, error) { return nil, ctx.Err() },
	}
	for _, mode := range []wg.Mode{wg.Auto, wg.NT} {
		if d, err := choose(ctx, mode, p, slog.New(slog.DiscardHandler)); err != nil || d.mode != wg.Netstack {
			t.Errorf("%s: %v, %v", mode, d, err)
		}
	}
}

// TestApproved waits for as long as an administrator does.
func TestApproved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{status: Status{State: "pending"}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(time.Hour, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.status.State = "active"
		})
		start := time.Now()
		if !a.approved(ctx) {
			t.Error("not approved")
		}
		if waited := time.Since(start); waited < time.Hour || waited > time.Hour+approvedEvery {
			t.Errorf("it took %s", waited)
		}
		a.status.State = "pending"
		time.AfterFunc(time.Minute, cancel)
		if a.approved(ctx) {
			t.Error("approved by the end of the channel")
		}
	})
}
