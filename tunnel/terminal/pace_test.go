package terminal

import (
	"testing"
	"time"
)

// A link carries a viewer's output: at most rate bytes a second, and trip there and back.
type link struct {
	rate float64
	trip time.Duration
}

// run has a program prompt and then write without pause for a while: what the window allows is under
// way, and is acknowledged in quarters of it. It returns the window at the end.
func (l link) run(p *pace, prompt bool, spent time.Duration) int64 {
	now := time.Unix(0, 0)
	var offset, read int64
	if prompt {
		p.delivered(10, 10, true, now)
		now = now.Add(l.trip)
		p.acked(10, 10, 10, now)
		offset, read = 10, 10
	}
	for end := now.Add(spent); now.Before(end); {
		p.delivered(read+p.window, read+p.window-offset, offset == read, now)
		offset = read + p.window
		step := max(offset-read, 4) / 4
		for range 4 {
			now = now.Add(max(time.Duration(float64(step)/l.rate*float64(time.Second)), l.trip/4))
			p.acked(read+step, step, offset-read, now)
			read += step
		}
	}
	return p.window
}

func TestPace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		link        link
		device      time.Duration
		noPrompt    bool
		least, most int64
	}{
		"fast":               {link: link{50e6, time.Millisecond}, least: mostWindow * 9 / 10, most: mostWindow},
		"browser":            {link: link{7e6, 2 * time.Millisecond}, least: mostWindow * 9 / 10, most: mostWindow},
		"4 Mbit/s":           {link: link{500e3, 60 * time.Millisecond}, least: 70 << 10, most: 90 << 10},
		"joins in a flood":   {link: link{500e3, 60 * time.Millisecond}, noPrompt: true, least: 60 << 10, most: 90 << 10},
		"modem":              {link: link{20e3, 100 * time.Millisecond}, least: leastWindow, most: leastWindow + 1},
		"far and fast":       {link: link{50e6, 250 * time.Millisecond}, least: mostWindow * 9 / 10, most: mostWindow},
		"device far away":    {link: link{50e6, 100 * time.Millisecond}, device: 200 * time.Millisecond, least: mostWindow * 9 / 10, most: mostWindow},
		"never out of range": {link: link{1, time.Hour}, least: leastWindow, most: firstWindow},
	} {
		p := newPace(defaultRing, test.device)
		if got := test.link.run(&p, !test.noPrompt, 20*time.Second); got < test.least || got > test.most {
			t.Errorf("%s: window %d, want %d to %d", name, got, test.least, test.most)
		}
	}
}

// Somebody who types sees little output at a low rate: that is no reason to narrow the window.
func TestPaceOfTyping(t *testing.T) {
	t.Parallel()
	p := newPace(defaultRing, 0)
	now := time.Unix(0, 0)
	for offset := int64(1); offset < 1000; offset++ {
		p.delivered(offset, 1, true, now)
		now = now.Add(5 * time.Millisecond)
		p.acked(offset, 1, 1, now)
		now = now.Add(100 * time.Millisecond)
	}
	if p.window != firstWindow {
		t.Errorf("window %d, want %d", p.window, firstWindow)
	}
	if p.trip != 5*time.Millisecond {
		t.Errorf("trip %v, want 5ms", p.trip)
	}
}

func TestPaceFitsTheRing(t *testing.T) {
	t.Parallel()
	p := newPace(64<<10, 0)
	if got := (link{50e6, time.Millisecond}).run(&p, true, 5*time.Second); got != 32<<10 {
		t.Errorf("window %d in a ring of 64 KiB", got)
	}
}
