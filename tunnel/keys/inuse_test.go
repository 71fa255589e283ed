package keys_test

import (
	"errors"
	"os"
	"sync"
	"testing"

	"borealis/tunnel/keys"
)

// TestOneProcessRunsAsAnAgent: the second is refused until the first has stopped.
func TestOneProcessRunsAsAnAgent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	release, err := keys.UseAgent(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.UseAgent(dir); !errors.Is(err, keys.ErrInUse) {
		t.Errorf("a second agent: %v, want ErrInUse", err)
	}
	release()
	again, err := keys.UseAgent(dir)
	if err != nil {
		t.Fatalf("after the first has stopped: %v", err)
	}
	again()
}

// TestLookingDoesNotKeepAnAgentFromRunning: who only asks whether one runs, is not in its way.
func TestLookingDoesNotKeepAnAgentFromRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if runs, err := keys.AgentInUse(dir); err != nil || runs {
		t.Errorf("before the first: %v, %v", runs, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("looking leaves %v, %v", left, err)
	}
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := keys.AgentInUse(dir); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		release, err := keys.UseAgent(dir)
		if err != nil {
			t.Errorf("somebody looks: %v", err)
			continue
		}
		if runs, err := keys.AgentInUse(dir); err != nil || !runs {
			t.Errorf("while one runs: %v, %v", runs, err)
		}
		release()
	}
	close(done)
	looking.Wait()
	for range 4 { // Nor are those who look taken for one that runs.
		looking.Go(func() {
			for range 3000 {
				if runs, err := keys.AgentInUse(dir); err != nil || runs {
					t.Errorf("when none runs: %v, %v", runs, err)
					return
				}
			}
		})
	}
	looking.Wait()
}
