package audit

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"borealis/store"

	"github.com/google/go-cmp/cmp"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// parseMessage reads a message as a log server does.
func parseMessage(t testing.TB, text string) *rfc5424.SyslogMessage {
	t.Helper()
	m, err := rfc5424.NewParser().Parse([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m.(*rfc5424.SyslogMessage)
}

// checkMessage checks what is so for every message.
func checkMessage(t testing.TB, m syslogMessage, text string) {
	t.Helper()
	if len(text) > longestMessage || !utf8.ValidString(text) {
		t.Errorf("%d bytes, UTF-8 %t", len(text), utf8.ValidString(text))
	}
	for i, r := range text {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			t.Errorf("%U at byte %d of %q", r, i, text)
		}
	}
	got := parseMessage(t, text)
	if *got.Facility != facilityAudit || int(*got.Severity) != m.severity || *got.Appname != appName || !got.Timestamp.Equal(m.at.Truncate(1000)) {
		t.Errorf("%+v", got)
	}
	var ascii bool
	if got.Message != nil {
		ascii = strings.TrimPrefix(*got.Message, "\ufeff") == *got.Message
	}
	if got.Message != nil && ascii != !strings.ContainsFunc(*got.Message, func(r rune) bool { return r >= utf8.RuneSelf }) {
		t.Errorf("the mark of UTF-8 is not where it belongs in %q", *got.Message)
	}
	values := (*got.StructuredData)[structuredID]
	for _, f := range m.fields {
		most := longestValue
		if f[0] == "detail" {
			most = longestDetail
		}
		if want := cut(visible(f[1]), most); values[f[0]] != want {
			t.Errorf("%s is %q, want %q", f[0], values[f[0]], want)
		}
	}
}

func TestRecordMessage(t *testing.T) {
	t.Parallel()
	r := store.Record{
		Seq: 42, At: noon, Actor: "nora", Session: "s1", Source: "203.0.113.24", Kind: "terminal_opened", DeviceID: "d1", TunnelID: "t1",
		Target: "1", Result: store.Done, Hash: [32]byte{0xab},
	}
	want := `<109>1 2026-11-22T12:00:00.123456Z engine.example borealis - terminal_opened ` +
		`[borealis@32473 seq="42" actor="nora" session="s1" source="203.0.113.24" device="d1" tunnel="t1" target="1" result="done" ` +
		`hash="ab` + strings.Repeat("00", 31) + `"] nora terminal_opened 1`
	if diff := cmp.Diff(want, recordMessage(r).String("engine.example")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for result, severity := range map[string]int{store.Done: 5, store.Refused: 4, store.Failed: 3} {
		r.Result = result
		m := recordMessage(r)
		if m.severity != severity {
			t.Errorf("%s has severity %d", result, m.severity)
		}
		checkMessage(t, m, m.String("engine.example"))
	}
}

// Whatever is in a record, no receiver takes it for something else.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	for _, text := range []string{hostile, `"] [x@1 y="z"`, "\x00\x01\x1b]0;x\x07", strings.Repeat(`\"]`, 2000), strings.Repeat("漢", 3000), "\ufeffx", "", "\xff\xfe"} {
		r := sample(2)
		r.Actor, r.Kind, r.Target, r.Source, r.Detail, r.Reason, r.Session = text, text, text, text, text, text, text
		m := recordMessage(r)
		checkMessage(t, m, m.String("host"))
	}
	if got := recordMessage(sample(0)).String("Größe\nx y"); !strings.Contains(got, " Grexy borealis ") {
		t.Errorf("the host's name is not made fit: %q", got)
	}
	if got := recordMessage(store.Record{At: noon, Kind: "ß"}).String(""); !strings.Contains(got, "Z - borealis - - [") {
		t.Errorf("nothing is not written as -: %q", got)
	}
}

func TestFrameCountsBytes(t *testing.T) {
	t.Parallel()
	r := sample(1)
	r.Detail = "øß漢"
	m := recordMessage(r)
	length, text, _ := strings.Cut(string(m.frame("h")), " ")
	if want := m.String("h"); text != want || length != itoa(len(want)) || len(want) == utf8.RuneCountInString(want) {
		t.Errorf("length %s of %q", length, text)
	}
}

// A checkpoint that went to a log server can be checked there.
func TestCheckpointMessage(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	c := sign(a.key, a.vouch, 100, [32]byte{1, 2}, noon)
	m := checkpointMessage(c)
	checkMessage(t, m, m.String("engine.example"))
	values := (*parseMessage(t, m.String("h")).StructuredData)[structuredID]
	again := checkpointOf(t, values)
	if !signed(again) || a.vouched(again.Key, again.Vouch) != nil {
		t.Errorf("%+v", again)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
