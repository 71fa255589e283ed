//go:build !windows

package service

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestNothingElsewhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, installed := Install(Config{})
	_, queried := Query("x")
	_, logged := NewLog("x")
	_, source := SourceInstalled("x")
	for i, err := range []error{
		Elevated(), installed, queried, logged, source, Remove(ctx, "x"), Restore(ctx, "x", State{}), Start(ctx, "x"), Stop(ctx, "x"),
		Run("x", func(context.Context, <-chan Event) error { return nil }), InstallSource("x"), RemoveSource("x"),
	} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "systemd") {
			t.Errorf("%d: %v", i, err)
		}
	}
}
