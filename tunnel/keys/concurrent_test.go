package keys_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"borealis/tunnel/keys"
)

// TestAFileIsReadWholeWhileItIsWritten has several readers and writers at once, which on
// Windows get into each other's way.
func TestAFileIsReadWholeWhileItIsWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	contents := [][]byte{bytes.Repeat([]byte("a"), 1000), bytes.Repeat([]byte("b"), 3000)}
	if err := keys.WriteFile(path, contents[0]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				b, err := keys.ReadFile(path)
				if err != nil || !bytes.Equal(b, contents[0]) && !bytes.Equal(b, contents[1]) {
					t.Errorf("a reader gets %d bytes, %v", len(b), err)
					return
				}
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond): // Windows replaces no file that somebody has open all the time.
				}
			}
		})
	}
	for _, content := range contents {
		writers.Go(func() {
			for range 50 {
				if err := keys.WriteFile(path, content); err != nil {
					t.Errorf("a writer: %v", err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestAFileTooLargeIsNotRead keeps a huge file out of the memory.
func TestAFileTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := keys.WriteFile(path, make([]byte, 64<<10+1)); err != nil {
		t.Fatal(err)
	}
	if b, err := keys.ReadFile(path); err == nil {
		t.Errorf("reads %d bytes", len(b))
	}
}
