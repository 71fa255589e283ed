package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxProblem bounds what is read of a refusal.
const maxProblem = 16 << 10

// oneConnection returns an HTTP client that can use conn and nothing else: it
// neither dials, nor follows redirects, nor asks a proxy.
func oneConnection(conn net.Conn) *http.Client {
	only := make(chan net.Conn, 1)
	only <- conn
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				select {
				case c := <-only:
					return c, nil
				default:
					return nil, errors.New("the connection to the engine is used up")
				}
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("the engine is spoken to over TLS only")
			},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxProblem,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A RefusedError is the engine's refusal, in its own words.
type RefusedError struct {
	Status int    // HTTP status.
	Code   string // Stable, for programs; "" when the answer was no problem document.
	Detail string // A sentence for people.
	Hint   string // What they can do.
}

// Error returns the engine's sentences.
func (e *RefusedError) Error() string {
	said := strings.TrimSpace(e.Detail + " " + e.Hint)
	if said == "" {
		said = http.StatusText(e.Status)
	}
	return fmt.Sprintf("the engine refused (%d): %s", e.Status, said)
}

// refusal reads an RFC 9457 problem document from a response that is not a success.
func refusal(r *http.Response) error {
	e := &RefusedError{Status: r.StatusCode}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || r.Body == nil {
		return e
	}
	var doc struct{ Title, Code, Detail, Hint string }
	b, err := io.ReadAll(io.LimitReader(r.Body, maxProblem))
	if err != nil || json.Unmarshal(b, &doc) != nil {
		return e
	}
	e.Code, e.Detail, e.Hint = clean(doc.Code, maxName), clean(doc.Detail, maxSentence), clean(doc.Hint, maxSentence)
	if e.Detail == "" {
		e.Detail = clean(doc.Title, maxSentence)
	}
	return e
}

// clockAhead is how far this device's clock is ahead of the one that a response was dated by;
// zero when it was not. It is as good as the seconds of that date.
func clockAhead(r *http.Response) time.Duration {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return time.Now().Round(0).Sub(date).Truncate(time.Second)
}

// Longest strings that are told to the engine and shown from it, in bytes.
const (
	maxName     = 256
	maxSentence = 1000
)

// clean drops from s what is not UTF-8 or not visible and cuts it to limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
