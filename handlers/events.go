package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/tunnel"
)

// The rhythm of an event stream.
const (
	streamBeat  = 15 * time.Second       // a comment, so that a dead stream is noticed
	streamTick  = 2 * time.Second        // for counters, while a tunnel is live
	streamCalm  = 100 * time.Millisecond // least time between two answers to changes
	streamRetry = time.Second            // after which a browser comes back
)

// events is the one stream of a page: fragments of HTML that replace what has changed.
func (s *Server) events(w http.ResponseWriter, r *http.Request, p principal) error {
	v, err := s.liveView(r, p)
	if err != nil {
		return err
	}
	ctx, stream, err := s.streams.begin(r.Context(), p.opens(access.Look, v.subject))
	if err != nil {
		return err
	}
	defer stream.end()
	s.access.wake() // what was taken away since the request was let in
	defer s.config.Manager.Present(p.tab(r.URL.Query().Get("tab")))()
	changes, stop := s.config.Manager.Watch()
	defer stop()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	if err := out.write(fmt.Sprintf("retry: %d\n\n", streamRetry.Milliseconds())); err != nil {
		return nil // the browser went away; it has an answer
	}
	err = s.follow(ctx, r, out, v, changes)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what ended it, and not what broke because of it
	}
	switch {
	case isRefusal(err), errors.Is(err, errRightsChanged), errors.Is(err, tunnel.ErrUnknownDevice):
		_ = out.event("changed", "end") // the page asks again, and sees why
	case errors.Is(err, errSessionGone):
		_ = out.event("signedout", "end")
	case errors.Is(err, errStopping):
		_ = out.event("bye", "end")
	case err != nil && ctx.Err() == nil && !errors.Is(err, errBrowserGone):
		s.log.ErrorContext(ctx, "stream_failed", "addr", address(r), "err", err)
	}
	return nil
}

// follow sends what changes until the stream ends, and returns why.
func (s *Server) follow(ctx context.Context, r *http.Request, out *eventWriter, v *liveView, changes <-chan string) error {
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	calm := time.NewTimer(0) // the first answer repairs what the page missed
	defer calm.Stop()
	tick := time.NewTimer(streamTick)
	defer tick.Stop()
	v.change("")
	for waiting := true; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case device := <-changes:
			if v.change(device); !waiting {
				waiting = true
				calm.Reset(streamCalm)
			}
			continue
		case <-beat.C:
			if err := s.alive(r); err != nil {
				return err
			}
			if err := out.write(": \n\n"); err != nil {
				return err
			}
			continue
		case <-calm.C:
			waiting = false
		case <-tick.C:
			if tick.Reset(streamTick); !v.ticks() {
				continue
			}
			v.change(v.device)
		}
		html, err := v.changed(ctx)
		if err != nil {
			return err
		}
		if html == "" {
			continue
		}
		if err := out.event("fragments", html); err != nil {
			return err
		}
	}
}

// isRefusal reports whether an error is a failure that the client may know.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*failure](err)
	return ok
}

// errBrowserGone means that nobody reads the stream any more.
var errBrowserGone = errors.New("the browser went away")

// An eventWriter writes server-sent events. A browser that does not take one in time
// is cut.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (e *eventWriter) event(name, data string) error {
	var text strings.Builder
	text.WriteString("event: " + name + "\n")
	data = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)
	for line := range strings.SplitSeq(data, "\n") {
		text.WriteString("data: " + line + "\n")
	}
	text.WriteString("\n")
	return e.write(text.String())
}

func (e *eventWriter) write(text string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("bound a write: %w", err)
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return errBrowserGone
	}
	if err := e.control.Flush(); err != nil {
		return errBrowserGone
	}
	if err := e.control.SetWriteDeadline(time.Time{}); err != nil { // until the next one
		return fmt.Errorf("lift a write's bound: %w", err)
	}
	return nil
}
