package handlers

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"borealis/store"
	"borealis/views"
)

const (
	maxFilterText = 200 // characters
	maxFilterName = 128 // characters of everything else
	dayLayout     = "2006-01-02"
)

// An auditFilter is which records somebody wants to see.
type auditFilter struct {
	query store.RecordQuery
	shown views.AuditFilter // as it was asked for
	text  string            // in one line, for headers and records; "" when everything is wanted
}

// readAuditFilter reads the filter from an address. Parameters that do not belong to
// it, such as those for paging, are for the caller.
func readAuditFilter(p principal, values url.Values) (auditFilter, error) {
	f := auditFilter{shown: views.AuditFilter{
		Actor: clean(values.Get("actor"), maxFilterName), Kind: clean(values.Get("kind"), maxFilterName),
		Result: values.Get("result"), Device: clean(values.Get("device"), maxFilterName), Text: clean(values.Get("text"), maxFilterText),
		From: clean(values.Get("from"), maxFilterName), To: clean(values.Get("to"), maxFilterName),
	}}
	f.query = store.RecordQuery{
		Scope: p.scope(), Actor: f.shown.Actor, Kind: f.shown.Kind, Result: f.shown.Result, DeviceID: f.shown.Device, Text: f.shown.Text,
	}
	if f.shown.Result != "" && !slices.Contains([]string{store.Done, store.Refused, store.Failed}, f.shown.Result) {
		f.shown.Result = ""
		return f, invalid("result", "A result is %s, %s or %s.", store.Done, store.Refused, store.Failed)
	}
	var err error
	if f.query.From, err = auditTime("from", f.shown.From, 0); err != nil {
		return f, err
	}
	if f.query.To, err = auditTime("to", f.shown.To, 24*time.Hour); err != nil {
		return f, err
	}
	if !f.query.From.IsZero() && !f.query.To.IsZero() && !f.query.From.Before(f.query.To) {
		return f, invalid("to", "The end of the time is before its beginning.")
	}
	var parts []string
	for _, name := range []string{"actor", "kind", "result", "device", "text", "from", "to"} {
		if values.Get(name) != "" {
			parts = append(parts, name+"="+url.QueryEscape(clean(values.Get(name), maxFilterText)))
		}
	}
	f.text = strings.Join(parts, "&")
	return f, nil
}

// auditTime reads a day, which begins and ends at midnight UTC, or a time with its
// zone. A day that is an end is in the time itself: more is added to it.
func auditTime(field, text string, more time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(dayLayout, text); err == nil {
		return day.Add(more), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, invalid(field, "Write the time as a day, such as 2026-11-22, or as 2026-11-22T14:00:00Z.")
	}
	return at, nil
}
