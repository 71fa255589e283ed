package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// garbage is how much may lie about for each 100 bytes in use before it is collected; Go's own is 100.
	// An engine allocates little but when many agents come at one moment, and keeps a lot for each.
	garbage = 50
	// memoryShare is the part of the memory that the unit's MemoryMax or a container allows which Go may
	// take. The rest is for SQLite, the kernel's buffers, and the iptables that the engine runs.
	memoryShare = 0.8
)

// moderateMemory keeps the heap small, and below what the host lets this process have. What somebody has
// set in the environment as GOGC and GOMEMLIMIT counts instead.
func moderateMemory(ctx context.Context, log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case err != nil:
		log.WarnContext(ctx, "memory_limit_unknown", "err", err)
	case limit != math.MaxInt64:
		log.InfoContext(ctx, "memory_limit", "bytes", limit)
	}
}
