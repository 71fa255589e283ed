//go:build kernel

package netfilter

import (
	"testing"
	"time"

	"borealis/tunnel/wg"
)

func TestKernelTable(t *testing.T) {
	if inside(t) {
		testTable(t, wg.Kernel, 4*time.Second)
	}
}
