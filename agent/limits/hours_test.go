package limits_test

import (
	"testing"
	"time"
)

func TestHours(t *testing.T) {
	t.Parallel()
	const (
		office = `{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "07:00", "to": "19:00"}`
		night  = `{"days": ["sat"], "from": "22:00", "to": "06:00"}`
	)
	for _, c := range []struct {
		hours, at string
		until     string // "" when it is closed, "always" when it stays open.
	}{
		{office, "2026-03-04 07:00:00", "2026-03-04 19:00"}, // A Wednesday.
		{office, "2026-03-04 18:59:59", "2026-03-04 19:00"},
		{office, "2026-03-04 19:00:00", ""},
		{office, "2026-03-04 06:59:59", ""},
		{office, "2026-03-07 12:00:00", ""}, // A Saturday.
		{night, "2026-03-07 22:00:00", "2026-03-08 06:00"},
		{night, "2026-03-08 05:59:00", "2026-03-08 06:00"}, // From the end of the week into its beginning.
		{night, "2026-03-08 22:30:00", ""},
		{office + "," + night, "2026-03-07 23:00:00", "2026-03-08 06:00"},
		{`{"from": "00:00", "to": "24:00"}`, "2026-03-07 23:00:00", "always"},
		{`{"from": "12:00", "to": "24:00"}, {"from": "00:00", "to": "08:00"}`, "2026-03-31 23:00:00", "2026-04-01 08:00"},
		{`{"days": ["sun"], "from": "00:00", "to": "24:00"}, {"days": ["mon"], "from": "00:00", "to": "24:00"}`, "2026-03-08 00:00:00", "2026-03-10 00:00"},
		{`{"days": ["wed"], "from": "12:00", "to": "12:01"}`, "2026-03-04 12:00:30", "2026-03-04 12:01"},
	} {
		p := write(t, `{"hours": [`+c.hours+`]}`)
		at, err := time.Parse(time.DateTime, c.at)
		if err != nil {
			t.Fatal(err)
		}
		until, ok := p.Open(at)
		got := ""
		switch {
		case ok && until.IsZero():
			got = "always"
		case ok:
			got = until.Format("2006-01-02 15:04")
		}
		if got != c.until {
			t.Errorf("%s at %s: until %q, want %q", c.hours, c.at, got, c.until)
		}
	}
}

// TestHoursFollowTheClockOnTheWall has the two days on which a clock of Berlin is changed.
func TestHoursFollowTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this device has no time zones: ", err)
	}
	p := write(t, `{"hours": [{"from": "01:00", "to": "07:00"}]}`)
	for _, day := range []int{29, 30} { // The 29th of March 2026 has 23 hours.
		at := time.Date(2026, 3, day, 1, 30, 0, 0, berlin)
		until, ok := p.Open(at)
		if want := time.Date(2026, 3, day, 7, 0, 0, 0, berlin); !ok || !until.Equal(want) {
			t.Errorf("at %v: open until %v, %v; want %v", at, until, ok, want)
		}
	}
	late := time.Date(2026, 3, 29, 1, 30, 0, 0, berlin).Add(4*time.Hour + 45*time.Minute) // 07:15 by the clock.
	if _, ok := p.Open(late); ok {
		t.Errorf("open at %v", late)
	}
}
