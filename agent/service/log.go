package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// InstallSource registers name as a source of the event log, so that the log shows its
// events as they were written. Doing it again is safe.
func InstallSource(name string) error {
	if err := installSource(name); err != nil {
		return fmt.Errorf("register the event source %q: %w", name, err)
	}
	return nil
}

// RemoveSource takes a source off the event log again. One that is not there is no error.
// The events that it wrote stay.
func RemoveSource(name string) error {
	if err := removeSource(name); err != nil {
		return fmt.Errorf("remove the event source %q: %w", name, err)
	}
	return nil
}

// SourceInstalled reports whether name is a source of the event log.
func SourceInstalled(name string) (bool, error) {
	there, err := sourceInstalled(name)
	if err != nil {
		return false, fmt.Errorf("look for the event source %q: %w", name, err)
	}
	return there, nil
}

// Bounds of what is written to the event log, which other programs share.
const (
	maxText   = 8 << 10 // Bytes of one event; Windows takes 31,839 characters.
	burst     = 60      // Events at once,
	replenish = time.Minute
)

// Event numbers. The messages of EventCreate.exe, which the source borrows, are 1 to 1000.
const (
	idInfo    = 1
	idWarning = 2
	idError   = 3
)

// reporter writes one event.
type reporter interface {
	Info(id uint32, text string) error
	Warning(id uint32, text string) error
	Error(id uint32, text string) error
	Close() error
}

// Log writes to the event log. It is a [slog.Handler] for what an administrator should
// find there: warnings, errors, and the few messages that were named to [NewLog]. It
// writes 60 events at once and then one a minute; all else is left to the log file. Its
// methods are safe for concurrent use.
type Log struct {
	shared *shared
	text   slog.Handler // Writes to shared.line.
}

// shared is what a log and those derived from it have in common.
type shared struct {
	also  []string // Messages that are written at any level.
	limit *rate.Limiter

	mu   sync.Mutex
	to   reporter // nil when it is closed.
	line bytes.Buffer
}

// NewLog opens the event log as the source name. Messages of level Info are written when
// also names them. The caller closes the log.
func NewLog(name string, also ...string) (*Log, error) {
	to, err := openLog(name)
	if err != nil {
		return nil, fmt.Errorf("open the event log as %q: %w", name, err)
	}
	return newLog(to, also), nil
}

func newLog(to reporter, also []string) *Log {
	s := &shared{to: to, also: also, limit: rate.NewLimiter(rate.Every(replenish), burst)}
	return &Log{shared: s, text: slog.NewTextHandler(&s.line, &slog.HandlerOptions{ReplaceAttr: plain})}
}

// plain leaves out what the event log keeps itself: time and level.
func plain(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// Enabled implements [slog.Handler].
func (l *Log) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements [slog.Handler].
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	s := l.shared
	if r.Level < slog.LevelWarn && !slices.Contains(s.also, r.Message) || !s.limit.Allow() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return errors.New("the event log is closed")
	}
	s.line.Reset()
	if err := l.text.Handle(ctx, r); err != nil {
		return err
	}
	text := string(bytes.ToValidUTF8(s.line.Bytes()[:min(s.line.Len(), maxText)], nil))
	switch {
	case r.Level >= slog.LevelError:
		return s.to.Error(idError, text)
	case r.Level >= slog.LevelWarn:
		return s.to.Warning(idWarning, text)
	}
	return s.to.Info(idInfo, text)
}

// WithAttrs implements [slog.Handler].
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Log{shared: l.shared, text: l.text.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (l *Log) WithGroup(name string) slog.Handler {
	return &Log{shared: l.shared, text: l.text.WithGroup(name)}
}

// Close closes the log. What is written to it afterwards is lost.
func (l *Log) Close() error {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	if l.shared.to == nil {
		return nil
	}
	err := l.shared.to.Close()
	l.shared.to = nil
	return err
}
