package inventory

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"borealis/agent/wire"
)

// longest is how many bytes of a text are told. A message would take longer ones, but
// the whole inventory has to fit into one.
const longest = 128

// What a message takes for the year of a clock that was set.
const firstYear, lastYear = 1980, 9998

// fit makes i fit for a message.
func fit(i wire.Inventory) wire.Inventory {
	i.Edition, i.Build, i.CPU, i.LastUser = text(i.Edition), text(i.Build), text(i.CPU), text(i.LastUser)
	i.Cores, i.Memory = max(i.Cores, 0), max(i.Memory, 0)
	i.Disks = i.Disks[:min(len(i.Disks), wire.MaxDisks)]
	for n := range i.Disks {
		d := &i.Disks[n]
		d.Name, d.Kind = text(d.Name), text(d.Kind)
	}
	i.Adapters = i.Adapters[:min(len(i.Adapters), wire.MaxAdapters)]
	for n := range i.Adapters {
		a := &i.Adapters[n]
		a.Name, a.MAC = text(a.Name), text(a.MAC)
		a.Addresses = a.Addresses[:min(len(a.Addresses), wire.MaxAddrs)]
	}
	i.Booted = i.Booted.UTC().Truncate(time.Second)
	if y := i.Booted.Year(); y < firstYear || y > lastYear {
		i.Booted = time.Time{}
	}
	return i
}

// text is s in one line, without what a page or a terminal would not show as it is.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= longest {
		return s
	}
	end := longest
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimSpace(s[:end])
}

// bytes is a number of bytes as it is told.
func bytes(n uint64) int64 { return int64(min(n, math.MaxInt64)) } // #nosec G115 -- bounded
