package keys_test

import (
	"errors"
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
