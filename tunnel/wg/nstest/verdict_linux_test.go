package nstest

import (
	"errors"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	died := errors.New("exit status 1")
	for _, c := range []struct {
		name   string
		test   string
		err    error
		output string
		want   string
	}{
		{"pass", "TestA", nil, "=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\n", "pass"},
		{"pass of a subtest", "TestA/b_c", nil, "--- PASS: TestA (0.00s)\n    --- PASS: TestA/b_c (0.00s)\nPASS\n", "pass"},
		{"skip", "TestA", nil, "--- SKIP: TestA (0.00s)\n    x_test.go:1: no such thing\nPASS\n", "skip"},
		{"fail", "TestA", died, "--- FAIL: TestA (0.00s)\nFAIL\n", "fail"},
		{"leak after a pass", "TestA", died, "--- PASS: TestA (0.00s)\ngoleak: found leaks\n", "fail"},
		{"killed before the end", "TestA", errors.New("signal: killed"), "=== RUN   TestA\n", "fail"},
		{"nothing ran", "TestA", nil, "testing: warning: no tests to run\nPASS\n", "fail"},
		{"another test ran", "TestA", nil, "--- PASS: TestAB (0.00s)\nPASS\n", "fail"},
		{"the word is quoted in the log", "TestA", nil, "    x_test.go:1: said --- PASS: TestA (0s)\n", "fail"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := verdict(c.test, c.err, c.output); got != c.want {
				t.Errorf("verdict is %q, want %q", got, c.want)
			}
		})
	}
}
