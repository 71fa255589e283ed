//go:build !windows

package wg_test

import (
	"errors"
	"testing"

	"borealis/tunnel/wg"
)

// TestNTIsForWindows asks for an adapter where there is none, and for an interface on one.
func TestNTIsForWindows(t *testing.T) {
	t.Parallel()
	if a, err := wg.OpenAdapter(t.Context(), wg.AdapterConfig{DLL: "/wireguard.dll"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("open adapter: %v, %v", a, err)
	}
	i, err := wg.Open(t.Context(), wg.Config{Mode: wg.NT, Adapter: new(wg.Adapter), PrivateKey: newKey(t), Address: engineIP})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("open interface: %v, %v", i, err)
	}
}
