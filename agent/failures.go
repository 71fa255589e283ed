package agent

import (
	"strings"
	"time"
)

// How often the same failure is told.
const (
	tellFirst    = 3         // Times in a row.
	tellAgain    = time.Hour // After that.
	failureKinds = 32        // That are told apart.
)

// failures decides which of many failures are worth a line in the log: an engine may be away
// for weeks. The zero value has none.
type failures struct{ kinds map[string]*failure }

// failure is one kind of them.
type failure struct {
	times int
	told  time.Time
}

// add counts a failure. It returns how often it happened by now, and whether to say so.
func (f *failures) add(err error) (times int, say bool) {
	if f.kinds == nil {
		f.kinds = make(map[string]*failure)
	}
	kind := withoutNumbers(err.Error())
	one := f.kinds[kind]
	if one == nil {
		if len(f.kinds) >= failureKinds {
			clear(f.kinds)
		}
		one = new(failure)
		f.kinds[kind] = one
	}
	one.times++
	if one.times > tellFirst && time.Since(one.told) < tellAgain {
		return one.times, false
	}
	one.told = time.Now()
	return one.times, true
}

// clear forgets all failures: things are well again.
func (f *failures) clear() { f.kinds = nil }

// withoutNumbers is a text without what differs each time, such as the port that a
// connection came from.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}
