package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"borealis/store"
)

// What is the same in every message. RFC 5424, section 6.
const (
	facilityAudit  = 13 // "log audit"
	appName        = "borealis"
	syslogTime     = "2006-01-02T15:04:05.000000Z"
	structuredID   = "borealis@32473" // 32473 is the enterprise number for examples: RFC 5612
	longestMessage = 8192             // bytes, what each receiver should take: RFC 5425, section 4.3.1
	longestValue   = 256              // bytes of a value before it is escaped, so that a message stays below that
	longestDetail  = 1024             // bytes of a record's detail, the same
)

// Severities of RFC 5424, section 6.2.1.
const (
	severityError   = 3
	severityWarning = 4
	severityNotice  = 5
)

// A syslogMessage is a message of RFC 5424 before it is written down.
type syslogMessage struct {
	severity int
	at       time.Time
	id       string      // MSGID
	fields   [][2]string // of the structured data; empty values are left out
	text     string
}

// recordMessage is a record for a log server. Its hash goes with it, so that a log
// server proves what the trail was.
func recordMessage(r store.Record) syslogMessage {
	m := syslogMessage{severity: severityNotice, at: r.At, id: r.Kind, fields: [][2]string{
		{"seq", strconv.FormatInt(r.Seq, 10)},
		{"actor", r.Actor},
		{"session", r.Session},
		{"source", r.Source},
		{"device", r.DeviceID},
		{"tunnel", r.TunnelID},
		{"target", r.Target},
		{"result", r.Result},
		{"reason", r.Reason},
		{"detail", r.Detail},
		{"hash", digest(r.Hash).String()},
	}}
	switch r.Result {
	case store.Refused:
		m.severity = severityWarning
	case store.Failed:
		m.severity = severityError
	}
	said := []string{r.Actor, r.Kind, r.Target, r.Reason, r.Detail}
	if r.Actor == "" {
		said[0] = "engine"
	}
	if r.Result != store.Done {
		said = append(said, "("+r.Result+")")
	}
	m.text = strings.Join(strings.Fields(strings.Join(said, " ")), " ")
	return m
}

// checkpointMessage is a checkpoint for a log server, complete enough to be checked.
func checkpointMessage(c store.Checkpoint) syslogMessage {
	return syslogMessage{
		severity: severityNotice, at: c.At, id: "checkpoint",
		fields: [][2]string{
			{"seq", strconv.FormatInt(c.Seq, 10)},
			{"hash", digest(c.Hash).String()},
			{"at", strconv.FormatInt(c.At.UnixNano(), 10)},
			{"key", fmt.Sprintf("%x", c.Key)},
			{"vouch", fmt.Sprintf("%x", c.Vouch)},
			{"signature", fmt.Sprintf("%x", c.Signature)},
		},
		text: fmt.Sprintf("the records up to number %d are signed", c.Seq),
	}
}

// gapMessage says that records were left out.
func gapMessage(now time.Time, from, to int64) syslogMessage {
	return syslogMessage{
		severity: severityError, at: now, id: "gap",
		fields: [][2]string{{"from", strconv.FormatInt(from, 10)}, {"to", strconv.FormatInt(to, 10)}},
		text:   gapText(from, to),
	}
}

func gapText(from, to int64) string {
	return fmt.Sprintf("records %d to %d were dropped, too far behind", from, to)
}

// frame is the message as RFC 5425 sends it: its length, a space, and the message.
func (m syslogMessage) frame(host string) []byte {
	text := m.String(host)
	return append([]byte(strconv.Itoa(len(text))+" "), text...)
}

// String is the message as RFC 5424 writes it.
func (m syslogMessage) String(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s %s - %s [%s", facilityAudit*8+m.severity, m.at.UTC().Format(syslogTime), headerField(host, 255), appName,
		headerField(m.id, 32), structuredID)
	for _, f := range m.fields {
		most := longestValue
		if f[0] == "detail" {
			most = longestDetail
		}
		if f[1] != "" {
			fmt.Fprintf(&b, ` %s="%s"`, f[0], paramValue(f[1], most))
		}
	}
	b.WriteByte(']')
	if text := cut(visible(m.text), max(longestMessage-b.Len()-4, 0)); text != "" {
		b.WriteByte(' ')
		if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
			b.WriteString("\ufeff") // says that the text is UTF-8
		}
		b.WriteString(text)
	}
	return b.String()
}

// headerField is a text as a field of the header: printable ASCII without spaces, and
// - when nothing is left.
func headerField(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// paramValue is a text as a value of the structured data: quotes, backslashes and
// closing brackets are escaped, and control characters are made visible before that.
func paramValue(s string, most int) string {
	return valueEscapes.Replace(cut(visible(s), most))
}

var valueEscapes = strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`)

// visible writes control characters, and the marks that turn the writing direction,
// as U+001B: what a record says cannot break a line nor steer a terminal.
func visible(s string) string {
	hidden := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff'
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "%U", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cut shortens a text to at most that many bytes, between two characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
