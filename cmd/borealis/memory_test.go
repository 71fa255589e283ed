package main

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"
)

// TestMemoryIsModerate: garbage is collected earlier than usual, and whoever says otherwise in the environment is
// heard. That the unit's MemoryMax is, a real systemd shows (.ci/systemd).
func TestMemoryIsModerate(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, c := range []struct {
		percent, limit string
		want           int
	}{{"", "", garbage}, {"100", "300MiB", 100}} {
		t.Setenv("GOGC", c.percent)
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
		if c.limit != "" {
			t.Setenv("GOMEMLIMIT", c.limit) // as the runtime does when it starts:
			debug.SetMemoryLimit(300 << 20)
		}
		var log bytes.Buffer
		moderateMemory(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
		if got := debug.SetGCPercent(100); got != c.want {
			t.Errorf("GOGC=%q: the percentage is %d, want %d", c.percent, got, c.want)
		}
		if c.limit != "" && !strings.Contains(log.String(), "msg=memory_limit bytes=314572800") {
			t.Errorf("the log does not tell of the limit: %s", &log)
		}
	}
}
