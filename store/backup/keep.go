package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Name is what a backup is called in a folder of backups of an engine, by its pin.
func Name(engine string, at time.Time) string { return ownPrefix(engine) + stamp(at) + ".age" }

// ownPrefix begins the names of all backups of an engine.
func ownPrefix(engine string) string { return "borealis-" + engine[:min(8, len(engine))] + "-" }

// Keep says which backups stay: the newest Last ones, and the newest one of each of the last
// Hours hours, Days days and Weeks weeks in which any was made. The zero Keep keeps all.
type Keep struct{ Last, Hours, Days, Weeks int }

// ParseKeep reads "48", the newest 48, or "24/14/8": hours, days and weeks.
func ParseKeep(text string) (Keep, error) {
	var k Keep
	parts := strings.Split(text, "/")
	into := []*int{&k.Last}
	if len(parts) == 3 {
		into = []*int{&k.Hours, &k.Days, &k.Weeks}
	}
	if len(parts) != len(into) {
		return Keep{}, fmt.Errorf("%q: use one number, or HOURS/DAYS/WEEKS", text)
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > 10000 {
			return Keep{}, fmt.Errorf("%q: each number is from 1 to 10000", text)
		}
		*into[i] = n
	}
	return k, nil
}

var stamped = regexp.MustCompile(`^\d{8}T\d{6}Z\.age$`)

// Prune removes the backups of an engine in a folder that need not be kept. It touches only
// files with the names that [Name] gives, and never the newest one. It returns the names of
// those that it removed.
func Prune(dir, engine string, k Keep) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for old backups: %w", err)
	}
	var names []string
	for _, e := range entries {
		if rest, own := strings.CutPrefix(e.Name(), ownPrefix(engine)); own && stamped.MatchString(rest) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names) // newest first
	var removed []string
	for _, name := range k.superfluous(names, len(ownPrefix(engine))) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return removed, fmt.Errorf("remove an old backup: %w", err)
		}
		removed = append(removed, name)
	}
	return removed, nil
}

// superfluous are those of the names, newest first, that need not be kept. The time in a
// name begins at an index.
func (k Keep) superfluous(names []string, index int) []string {
	if k == (Keep{}) {
		return nil
	}
	var gone []string
	seen := make(map[string]bool)
	left := map[string]int{"hour": k.Hours, "day": k.Days, "week": k.Weeks}
	for i, name := range names {
		at, err := time.Parse("20060102T150405Z", strings.TrimSuffix(name[index:], ".age"))
		if err != nil { // a 31st of February: not ours
			continue
		}
		year, week := at.ISOWeek()
		keep := i == 0 || i < k.Last
		for kind, period := range map[string]string{
			"hour": at.Format("2006-01-02 15"), "day": at.Format("2006-01-02"), "week": fmt.Sprint(year, " ", week),
		} {
			if id := kind + period; !seen[id] && left[kind] > 0 {
				seen[id], keep = true, true
				left[kind]--
			}
		}
		if !keep {
			gone = append(gone, name)
		}
	}
	return gone
}
