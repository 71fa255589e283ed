package terminal

import "time"

const (
	firstWindow = 128 << 10 // bytes a new viewer may have unread
	leastWindow = 32 << 10
	mostWindow  = 512 << 10

	queue   = 100 * time.Millisecond // how long unread output may take a viewer, beyond the way there
	sample  = 50 * time.Millisecond  // least time over which a viewer's rate is measured
	assumed = 50 * time.Millisecond  // the way to a viewer and back until it is known
	small   = 1 << 10                // bytes that take a viewer no time worth measuring
)

// pace sizes a viewer's window by how fast the viewer takes output: what it takes in the time that
// a byte is on its way and queue together. A larger window makes Ctrl-C wait behind output that
// nobody reads; without the way in it, a far viewer's window would shrink with its rate, and its
// rate with its window.
type pace struct {
	window int64
	most   int64         // the window's upper bound
	device time.Duration // to the device and back
	trip   time.Duration // to the viewer and back: the least time from delivery to acknowledgement; assumed until known

	begun   time.Time // of the sample
	taken   int64     // bytes acknowledged in it
	pressed bool      // the window was half full in it, so that it limited the rate
	last    time.Time // of the acknowledgement before

	probe  int64     // offset whose acknowledgement is being timed; 0 is none
	probed time.Time // when it was delivered
	known  bool      // trip was measured
}

// newPace returns the pace of a new viewer of a ring.
func newPace(ringSize int, device time.Duration) pace {
	most := min(mostWindow, int64(ringSize)/2) // a viewer within its window is never overrun
	return pace{window: min(firstWindow, most), most: most, device: device, trip: assumed}
}

// delivered notes that n bytes, up to offset, went to the viewer; quiet when it had nothing unread.
// Only few bytes on a quiet way tell how long the way is: others wait for those before them.
func (p *pace) delivered(offset, n int64, quiet bool, now time.Time) {
	if quiet && now.Sub(p.last) > sample { // it was idle: that time says nothing about its rate
		p.begun, p.taken, p.pressed = now, 0, false
	}
	if quiet && n <= small {
		p.probe, p.probed = offset, now
	}
}

// acked notes that the viewer read n more bytes and is at offset, and had unread bytes until now.
func (p *pace) acked(offset, n, unread int64, now time.Time) {
	p.last = now
	p.taken += n
	p.pressed = p.pressed || unread >= p.window/2
	if p.probe != 0 && offset >= p.probe {
		if trip := now.Sub(p.probed); !p.known || trip < p.trip {
			p.trip, p.known = trip, true
		}
		p.probe = 0
	}
	spent := now.Sub(p.begun)
	if spent < sample {
		return
	}
	rate := float64(p.taken) / spent.Seconds()
	fit := int64(rate * (queue + p.trip + p.device).Seconds())
	fit = max(min(fit, p.most), min(leastWindow, p.most))
	if p.pressed || fit > p.window { // a viewer that had little to read shows no limit
		p.window += (fit - p.window) / 2
	}
	p.begun, p.taken, p.pressed = now, 0, false
}
