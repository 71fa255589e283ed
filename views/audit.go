package views

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// Audit is the page of the audit trail.
type Audit struct {
	Now    time.Time
	Filter AuditFilter
	Kinds  []string // there are, for the choice
	Lines  []Event  // newest first
	Total  int      // how many lines the filter finds
	Before int64    // the ?before= this page was asked with; 0 = newest
	Older  int64    // id to ask with ?before= for more; 0 = no more
	Newer  int64    // the same for the lines above; 0 = the newest
	State  AuditState
	Error  Note // why the filter was not taken; zero = it was
}

// AuditFilter is what chooses lines, as it stands in the page's address.
type AuditFilter struct {
	Actor, Kind, Result, Device, Text string
	From, To                          string // days or times, in UTC
}

// AuditState is how the chain stands.
type AuditState struct {
	Now        time.Time
	Records    int64
	Checkpoint int64     // number of the last record that is signed; 0 = none
	SignedAt   time.Time // when it was
	Checked    Note      // what came of verifying just now; zero = nobody did
}

// values are the filter as parameters of an address.
func (f AuditFilter) values() url.Values {
	v := url.Values{}
	for _, field := range [][2]string{
		{"actor", f.Actor}, {"kind", f.Kind}, {"result", f.Result}, {"device", f.Device}, {"text", f.Text}, {"from", f.From}, {"to", f.To},
	} {
		if field[1] != "" {
			v.Set(field[0], field[1])
		}
	}
	return v
}

// empty says that the filter lets everything through.
func (f AuditFilter) empty() bool { return f == AuditFilter{} }

// url is the page with the filter, before a line; 0 = the newest.
func (f AuditFilter) url(before int64) templ.SafeURL {
	v := f.values()
	if before > 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	return auditURL("/audit", v)
}

// export is the address of a file with what the filter finds.
func (f AuditFilter) export(format string) templ.SafeURL {
	v := f.values()
	v.Set("format", format)
	return auditURL("/audit/export", v)
}

// withoutDevice is the page with the filter but for the device.
func (f AuditFilter) withoutDevice() templ.SafeURL {
	f.Device = ""
	return f.url(0)
}

func auditURL(path string, v url.Values) templ.SafeURL {
	if len(v) == 0 {
		return templ.SafeURL(path)
	}
	return templ.SafeURL(path + "?" + v.Encode())
}

// summary says how much the page shows.
func (v Audit) summary() string {
	if v.Filter.empty() {
		return count(v.Total, "record")
	}
	return count(v.Total, "record") + " of " + strconv.FormatInt(v.State.Records, 10)
}

// unsigned says how many records no checkpoint covers yet.
func (s AuditState) unsigned() string {
	switch n := s.Records - s.Checkpoint; {
	case n <= 0:
		return "nothing since"
	case n == 1:
		return "1 record since"
	default:
		return strconv.FormatInt(n, 10) + " records since"
	}
}

// kindWords are a kind of records as people read it.
func kindWords(kind string) string { return strings.ReplaceAll(plain(kind), "_", " ") }
