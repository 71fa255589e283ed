package store

import (
	"context"
	"errors"
	"testing"
)

func TestSetting(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if _, err := s.Setting(ctx, "idle"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is set: error %v, want ErrNotFound", err)
	}
	for _, value := range []string{"900", "", "a'b\x00c\nd"} {
		if err := s.SetSetting(ctx, "idle", value); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Setting(ctx, "idle"); err != nil || got != value {
			t.Errorf("setting is %q, %v, want %q", got, err, value)
		}
	}
	if _, err := s.Setting(ctx, "IDLE"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another key: error %v, want ErrNotFound", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Setting(cancelled, "idle"); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: error %v, want context.Canceled", err)
	}
}
