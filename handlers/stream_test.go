package handlers

import (
	"context"
	"errors"
	"testing"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	var all streams
	begin := func(session string) (context.Context, *stream) {
		ctx, one, err := all.begin(t.Context(), owner{credential: session})
		if err != nil {
			t.Fatal(err)
		}
		return ctx, one
	}
	ann, a := begin("ann")
	bob, b := begin("bob")
	all.endSession("ann")
	if !errors.Is(context.Cause(ann), errSessionGone) || bob.Err() != nil {
		t.Error("the wrong stream ended")
	}
	a.end()
	closed := make(chan struct{})
	go func() { defer close(closed); all.close() }()
	<-bob.Done()
	if !errors.Is(context.Cause(bob), errStopping) {
		t.Error(context.Cause(bob))
	}
	select {
	case <-closed:
		t.Error("close did not wait")
	default:
	}
	b.end()
	<-closed
	if _, _, err := all.begin(t.Context(), owner{credential: "ann"}); problemOf(err).Code != codeStopping {
		t.Errorf("a stream begins after close: %v", err)
	}
	all.close() // again
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	var all streams
	for range maxSessionStreams {
		if _, _, err := all.begin(t.Context(), owner{credential: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := all.begin(t.Context(), owner{credential: "ann"}); problemOf(err).Code != codeTooMany {
		t.Error(err)
	}
	for _, other := range []string{"bob", ""} {
		if _, _, err := all.begin(t.Context(), owner{credential: other}); err != nil {
			t.Error(err)
		}
	}
	for one := range all.open {
		one.end()
	}
	if len(all.counts) != 0 {
		t.Errorf("%v are counted", all.counts)
	}
}
