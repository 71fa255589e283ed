package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// childEnv tells TestChild what to do in a process of its own.
const childEnv = "BOREALIS_STORE_CHILD"

// TestChild is the other process of the tests in this file, not a test.
func TestChild(t *testing.T) {
	job, path, _ := strings.Cut(os.Getenv(childEnv), " ")
	switch job {
	case "":
		return // only inside other tests
	case "redeem":
		s := openAt(t, path)
		for i := range 40 {
			_, err := s.RedeemCode(t.Context(), hash("secret"), Device{Pin: pin(os.Getpid()*100 + i)}, noon, Record{})
			if err == nil {
				fmt.Println("redeemed")
			} else if !errors.Is(err, ErrCodeUsed) {
				t.Error(err)
			}
		}
	case "write":
		s, err := Open(t.Context(), path) // never closed
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			if err := s.SetSetting(t.Context(), fmt.Sprint("key", i), strings.Repeat("x", 500)); err != nil {
				t.Fatal(err)
			}
			fmt.Println("written", i)
		}
	}
}

// child starts this program again to do a job with the database at path.
func child(t *testing.T, job, path string) (*exec.Cmd, io.Reader) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+job+" "+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

func TestProcessesShareAFile(t *testing.T) {
	t.Parallel()
	const uses = 50
	path := filepath.Join(t.TempDir(), "borealis.db")
	s := openAt(t, path)
	addCode(t, s, "secret", Code{Uses: uses})
	redeemed := make([]int, 3)
	errs := atOnce(len(redeemed), func(i int) error {
		cmd, out := child(t, "redeem", path)
		text, err := io.ReadAll(out)
		redeemed[i] = strings.Count(string(text), "redeemed")
		return errors.Join(err, cmd.Wait())
	})
	count(t, errs, nil)
	sum := 0
	for _, n := range redeemed {
		sum += n
	}
	if _, total, err := s.Devices(t.Context(), DeviceQuery{Scope: everything}); sum != uses || total != uses || err != nil {
		t.Errorf("%v uses, %d devices, %v, want %d", redeemed, total, err, uses)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	acknowledged := -1
	for range 3 {
		cmd, out := child(t, "write", path)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if number, found := strings.CutPrefix(lines.Text(), "written "); found {
				i, err := strconv.Atoi(number)
				if err != nil {
					t.Fatal(err)
				}
				acknowledged = max(acknowledged, i)
			}
			if n == 150 { // what is in the pipe by then is read as well
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		s := openAt(t, path)
		for i := range acknowledged + 1 {
			if _, err := s.Setting(t.Context(), fmt.Sprint("key", i)); err != nil {
				t.Fatalf("of %d acknowledged writes number %d is lost: %v", acknowledged+1, i, err)
			}
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acknowledged < 149 {
		t.Errorf("only %d writes", acknowledged+1)
	}
}
