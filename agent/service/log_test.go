package service

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// events is an event log in memory.
type events struct{ all []string }

func (e *events) add(kind string, id uint32, text string) error {
	e.all = append(e.all, fmt.Sprintf("%s %d %s", kind, id, text))
	return nil
}
func (e *events) Info(id uint32, text string) error    { return e.add("info", id, text) }
func (e *events) Warning(id uint32, text string) error { return e.add("warning", id, text) }
func (e *events) Error(id uint32, text string) error   { return e.add("error", id, text) }
func (e *events) Close() error                         { return e.add("close", 0, "") }

func TestEventLog(t *testing.T) {
	t.Parallel()
	to := new(events)
	l := newLog(to, []string{"service_started"})
	log := slog.New(l)
	log.Debug("nothing")
	log.Info("agent_connected")
	log.Info("service_started", "version", "1.2")
	log.With("addr", "engine:443").WithGroup("g").Warn("agent_unreachable", "err", "no\nroute")
	log.Error("agent_failed", "err", errors.New("why"))
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := l.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelError, "late", 0)); err == nil {
		t.Error("a closed log takes an event")
	}
	want := []string{
		"info 1 msg=service_started version=1.2\n",
		"warning 2 msg=agent_unreachable addr=engine:443 g.err=\"no\\nroute\"\n",
		"error 3 msg=agent_failed err=why\n",
		"close 0 ",
	}
	if diff := cmp.Diff(want, to.all); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestEventLogIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := new(events)
		log := slog.New(newLog(to, nil))
		log.Warn("long", "text", strings.Repeat("ü", maxText))
		if got := to.all[0]; len(got) > maxText+len("warning 2 ") || len(got) < maxText || !utf8.ValidString(got) {
			t.Errorf("an endless text becomes one of %d bytes", len(got))
		}
		for range 10 * burst {
			log.Warn("flood")
		}
		if len(to.all) != burst {
			t.Errorf("a flood becomes %d events, want %d", len(to.all), burst)
		}
		time.Sleep(replenish)
		for range 10 {
			log.Warn("flood")
		}
		if len(to.all) != burst+1 {
			t.Errorf("a minute later there are %d events, want one more", len(to.all))
		}
	})
}
