package limits

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Minutes.
const (
	ofDay  = 24 * 60
	ofWeek = 7 * ofDay
)

// window is some hours of some days.
type window struct {
	Days []string `json:"days"` // Every day, when absent.
	From string   `json:"from"`
	To   string   `json:"to"`
}

// days are the names of the days, as [time.Weekday] counts them.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// week says of each minute of a week whether it is allowed, from Sunday, 00:00.
type week [ofWeek]bool

// newWeek understands windows. None at all are always, which is nil.
func newWeek(windows []window) (*week, error) {
	if windows == nil {
		return nil, nil
	}
	if len(windows) == 0 || len(windows) > maxHours {
		return nil, fmt.Errorf("hours has %d entries: leave it out, or write 1 to %d", len(windows), maxHours)
	}
	w := new(week)
	for _, one := range windows {
		if err := w.allow(one); err != nil {
			return nil, fmt.Errorf("hours: %w", err)
		}
	}
	return w, nil
}

// allow adds a window.
func (w *week) allow(one window) error {
	from, err := parseMinute(one.From)
	if err != nil {
		return fmt.Errorf("from: %w", err)
	}
	to, err := parseMinute(one.To)
	if err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if from == to || from == ofDay {
		return fmt.Errorf("nothing is between %s and %s: a whole day is from 00:00 to 24:00", one.From, one.To)
	}
	if to < from {
		to += ofDay // Into the next day.
	}
	if one.Days != nil && len(one.Days) == 0 {
		return errors.New("days is empty: leave it out for every day")
	}
	for _, name := range one.Days {
		if !slices.Contains(days, name) {
			return fmt.Errorf("%q is no day: write %s", name, strings.Join(days, ", "))
		}
	}
	for day, name := range days {
		if one.Days == nil || slices.Contains(one.Days, name) {
			for minute := from; minute < to; minute++ {
				w[(day*ofDay+minute)%ofWeek] = true
			}
		}
	}
	return nil
}

// parseMinute reads a time of day, from "00:00" to "24:00", as minutes since its beginning.
func parseMinute(text string) (int, error) {
	if text == "24:00" {
		return ofDay, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is no time of day: write it as in 07:00", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// open is [Policy.Open]. Whatever the clock does to a day's length, what counts is what it shows.
func (w *week) open(at time.Time) (until time.Time, ok bool) {
	if w == nil {
		return time.Time{}, true
	}
	now := int(at.Weekday())*ofDay + at.Hour()*60 + at.Minute()
	if !w[now] {
		return time.Time{}, false
	}
	for ahead := 1; ahead < ofWeek; ahead++ {
		if !w[(now+ahead)%ofWeek] {
			year, month, day := at.Date()
			return time.Date(year, month, day, at.Hour(), at.Minute()+ahead, 0, 0, at.Location()), true
		}
	}
	return time.Time{}, true
}
