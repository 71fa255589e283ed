package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestChanges makes sure that commits of this handle, of another handle, and of
// another program are noticed, once each, and that nothing else is.
func TestChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s, other := openAt(t, path), openAt(t, path)
	raw := openRaw(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	noticed, ended := make(chan struct{}, 1000), make(chan error)
	go func() {
		ended <- s.Changes(ctx, time.Millisecond, func() { noticed <- struct{}{} })
	}()
	commits := []struct {
		of   string
		call func()
	}{
		{"nobody", func() {}}, // the first call comes by itself
		{"this handle", func() { addRecords(t, s, Record{Kind: "k"}) }},
		{"another handle", func() { addRecords(t, other, Record{Kind: "k"}) }},
		{"another program", func() { do(t, raw, "INSERT INTO setting VALUES ('k', 'v')") }},
		{"this handle again", func() {
			do(t, raw, "BEGIN IMMEDIATE", "INSERT INTO setting VALUES ('l', 'v')", "ROLLBACK") // not a change
			if _, err := s.Operators(ctx); err != nil {                                        // nor this
				t.Error(err)
			}
			addRecords(t, s, Record{Kind: "k"})
		}},
	}
	for _, commit := range commits {
		commit.call()
		select {
		case <-noticed:
		case err := <-ended:
			t.Fatalf("it ended before the commit of %s: %v", commit.of, err)
		case <-time.After(30 * time.Second):
			t.Fatalf("the commit of %s was not noticed", commit.of)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the context ended: %v", err)
	}
	if n := len(noticed); n > 0 {
		t.Errorf("%d changes were noticed where there were none", n)
	}
}

func TestChangesEnd(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ended := make(chan error, 2)
	for range cap(ended) { // the second one waits for the first
		go func() { ended <- s.Changes(t.Context(), time.Hour, func() {}) }()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("the store was closed: error %v, want ErrClosed", err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := openTest(t).Changes(cancelled, time.Hour, func() {}); err != nil {
		t.Errorf("the context had ended: %v", err)
	}
}
