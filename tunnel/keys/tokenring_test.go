package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/keys"
)

// start is when the tests of rotation begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at opens the engine in dir at a moment.
func at(t *testing.T, dir string, now time.Time) *keys.Engine {
	t.Helper()
	e, err := keys.OpenEngineAt(dir, nil, box, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ids returns the ids of the token keys that are announced, the newest first.
func ids(e *keys.Engine) []string {
	var all []string
	for _, k := range e.TokenKeys(e.Identity) {
		all = append(all, k.ID)
	}
	return all
}

func TestTokenKeyIsReplacedWhenOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := ids(at(t, dir, start))
	if young := at(t, dir, start.Add(keys.TokenAge-time.Second)); !cmp.Equal(ids(young), first) || young.TokenDue(start.Add(keys.TokenAge-time.Second)) {
		t.Errorf("keys after 90 days less a second are %v, the first is %v", ids(young), first)
	} else if !young.TokenDue(start.Add(keys.TokenAge)) {
		t.Error("it is not due after 90 days")
	}
	rotated := start.Add(keys.TokenAge)
	second := at(t, dir, rotated)
	if got := ids(second); len(got) != 2 || got[0] == first[0] || got[1] != first[0] {
		t.Fatalf("keys after 90 days are %v, the first is %v", got, first)
	}
	if signer, _ := second.TokenSigner(); signer != ids(second)[0] {
		t.Errorf("%s signs", signer)
	}
	for _, k := range second.TokenKeys(second.Identity) {
		if err := k.Check(second.Identity.Public()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(second.TokenPublic()[k.ID], k.Public) {
			t.Errorf("%s is announced and not accepted", k.ID)
		}
	}
	if second.TokenDue(rotated) {
		t.Error("the new key is due at once")
	}
	if got := ids(at(t, dir, rotated.Add(keys.TokenOverlap-time.Second))); !cmp.Equal(got, ids(second)) {
		t.Errorf("keys at the end of the overlap are %v", got)
	}
	if e := at(t, dir, rotated.Add(keys.TokenOverlap)); !cmp.Equal(ids(e), ids(second)[:1]) || len(e.TokenPublic()) != 1 {
		t.Errorf("keys after the overlap are %v and %v", ids(e), e.TokenPublic())
	}
}

func TestTokenKeyIsAnnouncedBeforeItSigns(t *testing.T) {
	t.Parallel()
	e := at(t, t.TempDir(), start)
	old, _ := e.TokenSigner()
	var announced []string
	err := e.RotateToken(start, func() {
		announced = ids(e)
		if signer, _ := e.TokenSigner(); signer != old {
			t.Errorf("%s signs already", signer)
		}
		if len(e.TokenPublic()) != 2 {
			t.Errorf("%v are accepted", e.TokenPublic())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	fresh, key := e.TokenSigner()
	if fresh == old || !cmp.Equal(announced, []string{fresh, old}) || !cmp.Equal(ids(e), announced) {
		t.Errorf("announced were %v, %s signs and %s did before", announced, fresh, old)
	}
	if !key.Public().(ed25519.PublicKey).Equal(e.TokenPublic()[fresh]) {
		t.Error("the signer's public half is another")
	}
}

func TestManyRotationsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := at(t, dir, start)
	other := at(t, dir, start) // Another process, so to speak.
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := []*keys.Engine{e, other}[i%2].RotateToken(start, nil); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			for _, k := range e.TokenKeys(e.Identity) {
				if err := k.Check(e.Identity.Public()); err != nil {
					t.Error(err)
				}
			}
			id, key := e.TokenSigner()
			if pub, ok := e.TokenPublic()[id]; ok && !pub.Equal(key.Public()) {
				t.Error("an id has two keys")
			}
		})
	}
	all.Wait()
	if n := len(ids(e)); n < 2 || n > 8 {
		t.Errorf("%d keys are announced", n)
	}
	if got, _ := at(t, dir, start).TokenSigner(); !strings.Contains(strings.Join(append(ids(e), ids(other)...), " "), got) {
		t.Errorf("on disk is %s, which nobody announces", got)
	}
}

func TestTokenKeyOfAnotherProcessIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	running := at(t, dir, start)
	old, _ := running.TokenSigner()
	elsewhere := at(t, dir, start.Add(keys.TokenAge)) // It rotates.
	want, _ := elsewhere.TokenSigner()
	if err := running.RotateToken(start.Add(keys.TokenAge), nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := running.TokenSigner(); got != want || got == old {
		t.Errorf("%s signs, want %s", got, want)
	}
	if got := ids(running); !cmp.Equal(got, []string{want, old}) {
		t.Errorf("%v are announced", got)
	}
}

func TestTokenKeyIsNotRotatedIntoALostFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := at(t, dir, start)
	old, _ := e.TokenSigner()
	path := filepath.Join(dir, "token.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := e.RotateToken(start, func() { t.Error("announced") }); err == nil || !strings.Contains(err.Error(), path+" is missing") {
		t.Errorf("%v", err)
	}
	if got, _ := e.TokenSigner(); got != old {
		t.Error("another key signs")
	}
}

func TestDamagedTokenRing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := at(t, dir, start)
	if err := e.RotateToken(start, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "token.key")
	b, err := box.Open("file:token.key", read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	if !strings.Contains(good, "Made: 2026-03-01T12:00:00Z\n") || !strings.Contains(good, " 2026-03-01T12:07:00Z\n") {
		t.Fatalf("the headers are other ones:\n%s", good[:200])
	}
	for name, content := range map[string]string{
		"made":            strings.Replace(good, "Made: 2026", "Made: 20x6", 1),
		"retired until":   strings.Replace(good, "12:07", "12-07", 1),
		"retired key":     strings.Replace(good, "Retired: ", "Retired: AAAA", 1),
		"retired nothing": strings.Replace(good, "Retired: ", "Retired: ,", 1),
	} {
		write(t, path, box.Seal("file:token.key", []byte(content)))
		if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), path+" is damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
