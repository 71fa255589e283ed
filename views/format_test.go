package views

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ got, want string }{
		{bytesText(0), "0 B"},
		{bytesText(1023), "1023 B"},
		{bytesText(1024), "1.0 KiB"},
		{bytesText(4823449), "4.6 MiB"},
		{bytesText(1 << 50), "1.0 PiB"},
		{clockText(13*time.Minute + 41*time.Second), "13:41"},
		{clockText(59 * time.Second), "0:59"},
		{clockText(time.Hour + 2*time.Minute + 3*time.Second), "1:02:03"},
		{clockText(-time.Second), "0:00"},
		{agoText(now, now), "just now"},
		{agoText(now, now.Add(-4*time.Second)), "just now"},
		{agoText(now, now.Add(-37*time.Second)), "37 s ago"},
		{agoText(now, now.Add(-59*time.Minute)), "59 min ago"},
		{agoText(now, now.Add(-26*time.Hour)), "26 h ago"},
		{agoText(now, now.Add(-80*time.Hour)), "3 days ago"},
		{agoText(now, now.Add(90*time.Minute)), "in 1 h"},
		{millisText(400 * time.Microsecond), "0.4 ms"},
		{millisText(31 * time.Millisecond), "31 ms"},
		{millisText(2100 * time.Millisecond), "2.1 s"},
		{count(1, "operator"), "1 operator"},
		{count(0, "operator"), "0 operators"},
		{system("windows", "Windows 11 Pro"), "Windows 11 Pro"},
		{system("windows", "11"), "Windows 11"},
		{system("linux", "Debian GNU/Linux 12"), "Debian GNU/Linux 12"},
		{system("linux", ""), "Linux"},
		{system("", ""), ""},
		{absoluteText(now), "2026-11-22 20:24:52 UTC"},
		{dayText(now, now), "Today"},
		{dayText(now, now.Add(-24*time.Hour)), "Yesterday"},
		{dayText(now, now.Add(-72*time.Hour)), "Thursday 19 November 2026"},
		{shellQuote("a'b"), `'a'\''b'`},
		{plain("a\x1bb\u202ec\td"), "a\ufffdb\ufffdc\ufffdd"},
		{plain("naïve – ok"), "naïve – ok"},
		{string(devicesURL("", "", "", 1)), "/devices"},
		{string(devicesURL("a b&c", "", "", 2)), "/devices?page=2&q=a+b%26c"},
		{string(devicesURL("", "Oslo / 1", "pending", 1)), "/devices?site=Oslo+%2F+1&state=pending"},
		{devicePath("../x?", "summary"), "/devices/..%2Fx%3F/summary"},
		{ParseTheme("dark"), "dark"},
		{ParseTheme(`dark" onload="x`), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	if got := plain(strings.Repeat("x", 5000)); len(got) != longestText+len("…") {
		t.Errorf("a text of 5000 characters is drawn with %d bytes", len(got))
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		name  string
		steps []Step
		want  []timelineLine
	}{
		{"nothing", nil, nil},
		{"one step", []Step{{Name: "requested", At: at(0)}}, []timelineLine{{name: "Asked for", took: "0 ms", width: 4}}},
		{
			"to scale, without the way down",
			[]Step{{Name: "requested", At: at(0)}, {Name: "offered", At: at(10)}, {Name: "up", At: at(40), Detail: "d"}, {Name: "closing", At: at(900_000)}, {Name: "ended", At: at(900_010)}},
			[]timelineLine{
				{name: "Asked for", took: "0 ms", width: 4},
				{name: "Agent asked", took: "+10 ms", width: 250},
				{name: "Tunnel up", took: "+30 ms", detail: "d", from: 250, width: 750},
			},
		},
		{
			"steps at the same instant, and a clock that went back",
			[]Step{{Name: "requested", At: at(5)}, {Name: "offered", At: at(5)}, {Name: "ready", At: at(1)}},
			[]timelineLine{
				{name: "Asked for", took: "0 ms", width: 4},
				{name: "Agent asked", took: "+0.0 ms", width: 4},
				{name: "Agent ready", took: "+0.0 ms", width: 4},
			},
		},
	} {
		if diff := cmp.Diff(tc.want, Tunnel{Steps: tc.steps}.timeline(), cmp.AllowUnexported(timelineLine{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
	}
}
