package views

import "time"

// A timelineLine is one step of a tunnel drawn to scale: from and width are in
// thousandths of the whole time of coming up.
type timelineLine struct {
	name, took, detail string
	from, width        int
}

// timeline is the tunnel's way up. The steps of its going down are left out:
// they lie minutes or hours later.
func (t Tunnel) timeline() []timelineLine {
	var steps []Step
	for _, s := range t.Steps {
		if s.Name == "closing" || s.Name == "ended" {
			break
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil
	}
	start := steps[0].At
	total := max(steps[len(steps)-1].At.Sub(start), time.Microsecond)
	lines := make([]timelineLine, 0, len(steps))
	for i, s := range steps {
		l := timelineLine{name: stepName(s.Name), detail: plain(s.Detail), took: "0 ms", width: 4}
		if i > 0 {
			before := steps[i-1].At
			l.took = "+" + millisText(max(s.At.Sub(before), 0))
			l.from = thousandths(before.Sub(start), total)
			l.width = max(thousandths(s.At.Sub(before), total), 4)
		}
		l.from = min(l.from, 1000-l.width)
		lines = append(lines, l)
	}
	return lines
}

func thousandths(d, total time.Duration) int {
	return int(min(max(d, 0), total) * 1000 / total)
}

// closing is what the engine noted when the tunnel began to go down.
func (t Tunnel) closing() string {
	for _, s := range t.Steps {
		if s.Name == "closing" {
			return plain(s.Detail)
		}
	}
	return ""
}
