package setup

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorder makes steps that note what happens to them.
type recorder struct{ happened []string }

func (r *recorder) step(name string, err, undoErr error) step {
	return step{name, func(context.Context) (string, func(context.Context) error, error) {
		r.happened = append(r.happened, "do "+name)
		return "done " + name, func(ctx context.Context) error {
			r.happened = append(r.happened, "undo "+name)
			if ctx.Err() != nil {
				r.happened = append(r.happened, "too late")
			}
			return undoErr
		}, err
	}}
}

func TestStepsAreUndoneInReverse(t *testing.T) {
	t.Parallel()
	broken, stuck := errors.New("broken"), errors.New("stuck")
	tests := []struct {
		name     string
		steps    func(*recorder, context.CancelFunc) []step
		happened []string
		err      error
		says     string
	}{
		{"all well", func(r *recorder, _ context.CancelFunc) []step {
			return []step{r.step("a", nil, nil), r.step("b", nil, nil)}
		}, []string{"do a", "do b"}, nil, ""},
		{"the third fails half way", func(r *recorder, _ context.CancelFunc) []step {
			return []step{r.step("a", nil, nil), r.step("b", nil, nil), r.step("c", broken, nil), r.step("d", nil, nil)}
		}, []string{"do a", "do b", "do c", "fail c", "undo c", "undo b", "undo a"}, broken, "c: broken. The machine is as it was before"},
		{"one cannot be undone", func(r *recorder, _ context.CancelFunc) []step {
			return []step{r.step("a", nil, nil), r.step("b", nil, stuck), r.step("c", broken, nil)}
		}, []string{"do a", "do b", "do c", "fail c", "undo c", "undo b", "undo a"}, broken, "c: broken. Not all could be undone: b: stuck"},
		{"interrupted", func(r *recorder, stop context.CancelFunc) []step {
			second := r.step("b", nil, nil)
			do := second.do
			second.do = func(ctx context.Context) (string, func(context.Context) error, error) {
				stop()
				return do(ctx)
			}
			return []step{r.step("a", nil, nil), second, r.step("c", nil, nil)}
		}, []string{"do a", "do b", "fail c", "undo b", "undo a"}, context.Canceled, "c: context canceled. The machine is as it was before"},
	}
	for _, tt := range tests {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := new(recorder)
		done, err := perform(ctx, &journal{}, tt.steps(r, stop), func(name string, err error) {
			if err == nil {
				t.Errorf("%s: %s failed for no reason", tt.name, name)
			}
			r.happened = append(r.happened, "fail "+name)
		})
		if diff := cmp.Diff(tt.happened, r.happened); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.name, diff)
		}
		if !errors.Is(err, tt.err) || tt.err != nil && err.Error() != tt.says || tt.err == nil && err != nil {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
		if want := []Step{{"a", "done a"}, {"b", "done b"}}; tt.err == nil && !cmp.Equal(want, done) {
			t.Errorf("%s: %v, want %v", tt.name, done, want)
		}
	}
}

func TestEachStepLeavesALine(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	j := &journal{what: "install", also: &said}
	r := new(recorder)
	_, err := perform(t.Context(), j, []step{
		r.step("a", nil, nil), r.step("b", nil, errors.New("stuck")), r.step("c", errors.New("first\nsecond"), nil),
	}, func(string, error) {})
	if err == nil {
		t.Fatal("no error")
	}
	stamp := `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ install: `
	want := regexp.MustCompile("^" + stamp + "a: done a\n" + stamp + "b: done b\n" + stamp + "c: failed: first; second\n" +
		stamp + "c: undone\n" + stamp + "b: it could not be undone: stuck\n" + stamp + "a: undone\n$")
	if !want.MatchString(said.String()) {
		t.Errorf("it says\n%swant %s", said.String(), want)
	}
	if strings.Count(j.early.String(), "\n") != 6 {
		t.Errorf("%d lines wait", strings.Count(j.early.String(), "\n"))
	}
}
