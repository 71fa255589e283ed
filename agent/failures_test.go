package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestWeeksWithoutAnEngineFillNoLog counts what is told in three weeks of failures, each from
// another port.
func TestWeeksWithoutAnEngineFillNoLog(t *testing.T) {
	t.Parallel()
	const weeks = 3 * 7 * 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), weeks)
		defer cancel()
		var missed failures
		tries, told, last := 0, 0, 0
		retry(ctx, newBackoff(), nil, func(context.Context) bool {
			tries++
			times, say := missed.add(fmt.Errorf("dial tcp 10.0.0.%d:%d: connection refused", tries%250, tries%60000))
			if say {
				told, last = told+1, times
			}
			return false
		})
		if tries < int(weeks/lastWait) || tries > int(2*weeks/time.Second)/20 {
			t.Errorf("%d tries in %v", tries, weeks)
		}
		if most := tellFirst + int(weeks/tellAgain); told < most-20 || told > most {
			t.Errorf("of %d failures %d are told, want about %d", tries, told, most)
		}
		if last < tries-400 || len(missed.kinds) != 1 {
			t.Errorf("the last line counts %d of %d, in %d kinds", last, tries, len(missed.kinds))
		}
	})
}

// TestAnotherFailureIsTold at once, and the first one again after things were well.
func TestAnotherFailureIsTold(t *testing.T) {
	t.Parallel()
	var missed failures
	refused, strange := errors.New("refused"), errors.New("another engine")
	for i, c := range []struct {
		err   error
		times int
		say   bool
	}{
		{refused, 1, true},
		{refused, 2, true},
		{refused, 3, true},
		{refused, 4, false},
		{strange, 1, true},
		{refused, 5, false},
	} {
		if times, say := missed.add(c.err); times != c.times || say != c.say {
			t.Errorf("%d: %v is told %v, as number %d", i, c.err, say, times)
		}
	}
	missed.clear()
	if times, say := missed.add(refused); times != 1 || !say {
		t.Errorf("after all was well it is told %v, as number %d", say, times)
	}
	for i := range 1000 { // What an attacker who answers can make it remember.
		missed.add(errors.New(string(rune('一' + i))))
	}
	if len(missed.kinds) > failureKinds {
		t.Errorf("%d kinds are remembered", len(missed.kinds))
	}
}
