package keys_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/keys"
)

const day = 24 * time.Hour

// rotate rotates the identity in dir at a moment.
func rotate(t *testing.T, dir string, now time.Time) (old, fresh keys.Pin) {
	t.Helper()
	old, fresh, err := keys.RotateIdentity(dir, box, now)
	if err != nil {
		t.Fatal(err)
	}
	return old, fresh
}

func TestRotatedIdentityOverlaps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := at(t, dir, start)
	if before.Previous != nil || before.Next(before.Identity) != nil || before.ByPrefix("") != before.Identity {
		t.Error("there is an identity before the first")
	}
	old, fresh := rotate(t, dir, start)
	if old != before.Identity.Pin() || fresh == old {
		t.Fatalf("rotated from %v to %v, the identity was %v", old, fresh, before.Identity.Pin())
	}
	for _, now := range []time.Time{start, start.Add(keys.Overlap - time.Second), start.Add(-day)} {
		e := at(t, dir, now)
		if e.Identity.Pin() != fresh || e.Previous == nil || e.Previous.Pin() != old {
			t.Fatalf("at %v the identity is %v", now, e.Identity.Pin())
		}
		for prefix, want := range map[string]keys.Pin{
			old.String()[:16]: old, fresh.String()[:16]: fresh, "": fresh, "aaaaaaaaaaaaaaaa": fresh,
		} {
			if got := e.ByPrefix(prefix).Pin(); got != want {
				t.Errorf("%q leads to %v, want %v", prefix, got, want)
			}
		}
		for _, by := range []*keys.Identity{e.Identity, e.Previous} {
			if err := e.TokenKeys(by)[0].Check(by.Public()); err != nil {
				t.Error(err)
			}
		}
		if e.Next(e.Identity) != nil {
			t.Error("something follows the newest")
		}
		if pin, err := e.Next(e.Previous).Check(before.Identity.Public()); err != nil || pin != fresh {
			t.Errorf("announced is %v, %v", pin, err)
		}
	}
}

func TestIdentityBeforeIsForgottenAfterTheOverlap(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	names := slices.Sorted(maps.Keys(tree(t, dir)))
	old, fresh := rotate(t, dir, start)
	during := tree(t, dir)
	e := at(t, dir, start.Add(keys.Overlap))
	if e.Identity.Pin() != fresh || e.Previous != nil || e.ByPrefix(old.String()[:16]).Pin() != fresh {
		t.Error("the identity before is still served")
	}
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(tree(t, dir)))); diff != "" {
		t.Errorf("files (-before the rotation +after its overlap):\n%s", diff)
	}
	// The removal was broken off anywhere.
	gone := []string{"identity-previous.key", "identity-previous.crt", "rotation.json"}
	for n := range gone {
		restore(t, dir, during)
		for _, name := range gone[:n] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if e := at(t, dir, start.Add(keys.Overlap)); e.Identity.Pin() != fresh || e.Previous != nil || len(tree(t, dir)) != len(names) {
			t.Errorf("without %v: %v is left", gone[:n], slices.Sorted(maps.Keys(tree(t, dir))))
		}
	}
}

func TestOverlapEndsWhileTheEngineRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at(t, dir, start)
	old, fresh := rotate(t, dir, start)
	now := start
	e, err := keys.OpenEngineAt(dir, nil, box, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if got := e.ByPrefix(old.String()[:16]).Pin(); got != old {
		t.Errorf("within the overlap it serves %v", got)
	}
	now = start.Add(keys.Overlap)
	if got := e.ByPrefix(old.String()[:16]).Pin(); got != fresh {
		t.Errorf("after the overlap it serves %v", got)
	}
}

func TestRotationsInARow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := at(t, dir, start).Identity
	_, second := rotate(t, dir, start)
	before := tree(t, dir)
	for _, soon := range []time.Duration{0, time.Hour, keys.Overlap - time.Second} {
		if _, _, err := keys.RotateIdentity(dir, box, start.Add(soon)); !errors.Is(err, keys.ErrOverlap) || !strings.Contains(err.Error(), "2026-03-31") {
			t.Errorf("again after %v: %v", soon, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("a refused rotation changed files (-before +after):\n%s", diff)
	}
	middle := at(t, dir, start.Add(day)).Identity
	later := start.Add(keys.Overlap)
	old, third := rotate(t, dir, later) // The engine was never started in between.
	if old != second || third == second || third == first.Pin() {
		t.Errorf("rotated from %v to %v after %v", old, third, second)
	}
	e := at(t, dir, later)
	if e.Identity.Pin() != third || e.Previous.Pin() != second || e.ByPrefix(first.Pin().String()[:16]).Pin() != third {
		t.Error("the engine serves others")
	}
	if pin, err := e.Next(e.Previous).Check(middle.Public()); err != nil || pin != third {
		t.Errorf("announced is %v, %v", pin, err)
	}
	if _, err := e.Next(e.Previous).Check(first.Public()); err == nil {
		t.Error("the first identity vouches for the third")
	}
}

// TestBrokenOffRotation stops a rotation after every step that it takes on disk.
func TestBrokenOffRotation(t *testing.T) {
	t.Parallel()
	dir, first := newEngine(t)
	before := tree(t, dir)
	_, fresh := rotate(t, dir, start)
	after := tree(t, dir)
	state := func(steps ...string) map[string]string {
		files := maps.Clone(before)
		for _, step := range steps {
			switch step {
			case "next.key", "next.crt":
				files["identity-"+step] = after["identity"+filepath.Ext(step)]
			case "moved.key", "moved.crt":
				delete(files, "identity-next"+filepath.Ext(step))
				files["identity"+filepath.Ext(step)] = after["identity"+filepath.Ext(step)]
			default:
				files[step] = after[step]
			}
		}
		return files
	}
	const keyBefore, certBefore, record = "identity-previous.key", "identity-previous.crt", "rotation.json"
	tests := []struct {
		steps    []string
		happened bool
	}{
		{[]string{"next.key"}, false},
		{[]string{"next.key", "next.crt"}, false},
		{[]string{"next.key", "next.crt", record}, true},
		{[]string{"next.key", "next.crt", record, keyBefore}, true},
		{[]string{"next.key", "next.crt", record, keyBefore, certBefore}, true},
		{[]string{"next.key", "next.crt", record, keyBefore, certBefore, "moved.key"}, true},
		{[]string{"next.key", "next.crt", record, keyBefore, certBefore, "moved.key", "moved.crt"}, true},
	}
	for _, tt := range tests {
		files := state(tt.steps...)
		for name, open := range map[string]func(t *testing.T, dir string) *keys.Engine{
			"opened": func(t *testing.T, dir string) *keys.Engine { return at(t, dir, start) },
			"rotated again": func(t *testing.T, dir string) *keys.Engine {
				_, _, err := keys.RotateIdentity(dir, box, start)
				if tt.happened != errors.Is(err, keys.ErrOverlap) {
					t.Errorf("after %v: %v", tt.steps, err)
				}
				return at(t, dir, start)
			},
			"opened by many": func(t *testing.T, dir string) *keys.Engine {
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						if _, err := keys.OpenEngineAt(dir, nil, box, func() time.Time { return start }); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				return at(t, dir, start)
			},
		} {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "VPN_Server"), 0o700); err != nil {
				t.Fatal(err)
			}
			restore(t, dir, files)
			e := open(t, dir)
			switch {
			case tt.happened:
				if e.Identity.Pin() != fresh || e.Previous == nil || e.Previous.Pin() != first.Identity.Pin() {
					t.Errorf("%s after %v: the identity is %v", name, tt.steps, e.Identity.Pin())
				}
				if got, want := len(tree(t, dir)), len(after); got != want {
					t.Errorf("%s after %v: %d files, want %d", name, tt.steps, got, want)
				}
			case name == "rotated again":
				if e.Previous == nil || e.Previous.Pin() != first.Identity.Pin() || e.Identity.Pin() == fresh {
					t.Errorf("%s after %v: the identity is %v", name, tt.steps, e.Identity.Pin())
				}
			default:
				if e.Identity.Pin() != first.Identity.Pin() || e.Previous != nil {
					t.Errorf("%s after %v: the identity is %v", name, tt.steps, e.Identity.Pin())
				}
			}
			nothingPlain(t, dir, e)
		}
	}
}

func TestDamagedRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at(t, dir, start)
	_, fresh := rotate(t, dir, start)
	intact := tree(t, dir)
	other := t.TempDir()
	at(t, other, start)
	rotate(t, other, start)
	foreign := tree(t, other)
	record := intact["rotation.json"]
	for name, c := range map[string]struct {
		change map[string]string // "" removes.
		says   string
	}{
		"record lost":            {map[string]string{"rotation.json": ""}, "rotation.json is missing"},
		"record empty":           {map[string]string{"rotation.json": " "}, "rotation.json is damaged"},
		"record with more":       {map[string]string{"rotation.json": record + "{}"}, "rotation.json is damaged"},
		"record without a time":  {map[string]string{"rotation.json": strings.Replace(record, "2026-03-01T12:00:00Z", "0001-01-01T00:00:00Z", 1)}, "rotation.json is damaged"},
		"record of another":      {map[string]string{"rotation.json": foreign["rotation.json"]}, "another key than"},
		"identity of another":    {map[string]string{"identity.key": foreign["identity.key"], "identity.crt": foreign["identity.crt"]}, "another key than"},
		"previous of another":    {map[string]string{"identity-previous.key": foreign["identity-previous.key"], "identity-previous.crt": foreign["identity-previous.crt"]}, "another key than"},
		"previous lost":          {map[string]string{"identity-previous.key": ""}, "identity-previous.key"},
		"previous cert lost":     {map[string]string{"identity-previous.crt": ""}, "identity-previous.crt"},
		"identity lost":          {map[string]string{"identity.key": "", "identity.crt": ""}, "identity.key"},
		"previous in its place":  {map[string]string{"identity.key": intact["identity-previous.key"]}, "identity.key"},
		"next of another record": {map[string]string{"identity-next.key": foreign["identity.key"]}, "is not the identity that was rotated"},
	} {
		restore(t, dir, intact)
		for file, content := range c.change {
			if content == "" {
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				continue
			}
			write(t, filepath.Join(dir, file), []byte(content))
		}
		before := tree(t, dir)
		if _, err := keys.OpenEngineAt(dir, nil, box, func() time.Time { return start }); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("%s: files changed (-before +after):\n%s", name, diff)
		}
		if _, ok := before["identity-next.key"]; ok {
			if err := os.Remove(filepath.Join(dir, "identity-next.key")); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore(t, dir, intact)
	if e := at(t, dir, start); e.Identity.Pin() != fresh {
		t.Error("restored it has another identity")
	}
}

func TestRotationNeedsAnEngine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := keys.RotateIdentity(dir, box, start); err == nil {
		t.Error("an identity that is not there was rotated")
	}
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestForgedAnnouncements(t *testing.T) {
	t.Parallel()
	dir, otherDir := t.TempDir(), t.TempDir()
	first, otherFirst := at(t, dir, start).Identity, at(t, otherDir, start).Identity
	rotate(t, dir, start)
	rotate(t, otherDir, start)
	e, other := at(t, dir, start), at(t, otherDir, start)
	good := *e.Next(e.Previous)
	foreign := *other.Next(other.Previous)
	pin := first.Pin()
	sign := func(by *keys.Identity, context string, msg ...[]byte) keys.NextIdentity {
		return keys.NextIdentity{Public: good.Public, Signature: by.Sign(context, bytes.Join(msg, nil))}
	}
	const context = "borealis next identity v1"
	if n := sign(first, context, pin[:], good.Public); !bytes.Equal(n.Signature, good.Signature) {
		t.Fatal("the test signs something else than the engine")
	}
	tests := map[string]struct {
		next keys.NextIdentity
		ok   bool
	}{
		"genuine":                        {good, true},
		"replayed for another engine":    {foreign, false},
		"another key, our signature":     {keys.NextIdentity{Public: foreign.Public, Signature: good.Signature}, false},
		"signed by the one it announces": {sign(e.Identity, context, pin[:], good.Public), false},
		"signed by a stranger":           {sign(otherFirst, context, pin[:], good.Public), false},
		"without the pin":                {sign(first, context, good.Public), false},
		"for another purpose":            {sign(first, "borealis token key v1", pin[:], good.Public), false},
		"as a token key":                 {sign(first, "borealis token key v1", good.Public), false},
		"no signature":                   {keys.NextIdentity{Public: good.Public}, false},
		"short key":                      {keys.NextIdentity{Public: good.Public[:31], Signature: good.Signature}, false},
		"the same identity again":        {keys.NextIdentity{Public: first.Public(), Signature: first.Sign(context, append(pin[:], first.Public()...))}, false},
		"nothing":                        {keys.NextIdentity{}, false},
	}
	for name, tt := range tests {
		got, err := tt.next.Check(first.Public())
		if (err == nil) != tt.ok || tt.ok != (got == e.Identity.Pin()) || !tt.ok && !got.IsZero() {
			t.Errorf("%s: %v, %v, want ok %v", name, got, err, tt.ok)
		}
	}
	if _, err := good.Check(nil); err == nil {
		t.Error("nobody vouches for it, and it passes")
	}
}

func TestAgentKnowsTwoPinsAtMost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := keys.SavePins(dir, identity(t).Pin(), keys.Pin{}); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Errorf("SavePins before enrolment: %v", err)
	}
	if _, err := keys.OpenAgentIdentity(dir, "device"); err != nil {
		t.Fatal(err)
	}
	first, second := identity(t).Pin(), identity(t).Pin()
	if err := keys.SaveAgent(dir, first, "engine:8443"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ engine, next keys.Pin }{{first, second}, {second, keys.Pin{}}, {second, first}} {
		if err := keys.SavePins(dir, c.engine, c.next); err != nil {
			t.Fatal(err)
		}
		a, err := keys.OpenAgent(dir)
		if err != nil || a.Engine != c.engine || a.Next != c.next || a.Address != "engine:8443" {
			t.Errorf("saved %v, read %+v, %v", c, a, err)
		}
	}
	before := read(t, filepath.Join(dir, "engine.json"))
	for _, c := range []struct{ engine, next keys.Pin }{{keys.Pin{}, second}, {first, first}, {}} {
		if err := keys.SavePins(dir, c.engine, c.next); err == nil {
			t.Errorf("%v passes", c)
		}
	}
	if !bytes.Equal(before, read(t, filepath.Join(dir, "engine.json"))) {
		t.Error("a refused one changed the record")
	}
	if err := keys.SaveAgent(dir, first, "other:1"); err != nil {
		t.Fatal(err)
	}
	if a, err := keys.OpenAgent(dir); err != nil || a.Engine != first || !a.Next.IsZero() {
		t.Errorf("after another enrolment: %+v, %v", a, err)
	}
}
