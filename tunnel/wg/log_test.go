package wg

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestDeviceLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := deviceLogger(slog.New(slog.NewTextHandler(&out, nil)))
	l.Verbosef("%v - Sending keepalive packet", "peer")
	l.Errorf("%v - Failed to send handshake initiation: %v", "peer", "no known endpoint for peer")
	l.Errorf("Failed to receive: %v", fmt.Errorf("read: %w", net.ErrClosed))
	l.Errorf("Failed to load updated MTU of device: %v", fmt.Errorf("failed to get MTU of TUN device: %w", syscall.ENODEV))
	if out.Len() != 0 {
		t.Errorf("routine was logged:\n%s", out.String())
	}
	for range 100 {
		l.Errorf("%v - Failed to send data packets: %v", "peer", "network is unreachable")
	}
	if got := strings.Count(out.String(), "level=WARN"); got != warnBurst {
		t.Errorf("%d warnings of 100, want %d:\n%s", got, warnBurst, out.String())
	}
	if !strings.Contains(out.String(), "network is unreachable") {
		t.Errorf("the warning does not say why:\n%s", out.String())
	}
}
