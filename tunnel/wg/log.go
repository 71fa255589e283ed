package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/time/rate"
	wgdevice "golang.zx2c4.com/wireguard/device"
)

const (
	warnEvery = 10 * time.Second // a device that cannot send says so for every packet
	warnBurst = 5
)

// deviceLogger forwards what a WireGuard device in this process has to say: routine as debug,
// trouble as warnings, no more than a few in ten seconds.
func deviceLogger(l *slog.Logger) *wgdevice.Logger {
	warnings := rate.NewLimiter(rate.Every(warnEvery), warnBurst)
	return &wgdevice.Logger{
		Verbosef: func(format string, args ...any) {
			if l.Enabled(context.Background(), slog.LevelDebug) {
				l.Debug("wireguard device", "reason", fmt.Sprintf(format, args...))
			}
		},
		Errorf: func(format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			switch {
			case routine(text, args), !warnings.Allow():
				l.Debug("wireguard device", "reason", text)
			default:
				l.Warn("wireguard device is in trouble", "err", text)
			}
		},
	}
}

// routine reports whether an error of the device is part of everyday life: a peer that has not
// spoken yet has no endpoint, sockets close while something is on its way, a link that is being
// removed has no MTU any more, and what was wrong with a configuration its sender is told anyway.
func routine(text string, args []any) bool {
	if strings.Contains(text, "no known endpoint") || strings.Contains(text, "MTU of TUN device: no such device") {
		return true
	}
	for _, a := range args {
		err, ok := a.(error)
		if !ok {
			continue
		}
		if _, ipc := errors.AsType[*wgdevice.IPCError](err); ipc || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return true
		}
	}
	return false
}
