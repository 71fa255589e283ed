package shell

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlowSearchForProcesses: on a host where it takes a minute to find the processes of a shell, they are asked and
// killed all the same, and one that the kernel cannot end does not hold up its agent.
func TestSlowSearchForProcesses(t *testing.T) {
	t.Parallel()
	for name, immortal := range map[string]bool{"dies": false, "does not die": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const leader = 1234567
				var got []syscall.Signal
				living := func() ([]int, error) {
					time.Sleep(time.Minute) // virtual
					if !immortal && slices.Contains(got, syscall.SIGKILL) {
						return nil, nil
					}
					return []int{leader}, nil
				}
				endAll(leader, living, func(_ int, s syscall.Signal) error { got = append(got, s); return nil })
				if want := []syscall.Signal{syscall.SIGHUP, syscall.SIGCONT, syscall.SIGKILL}; !slices.Equal(got[:min(len(got), 3)], want) {
					t.Errorf("signals %v, want %v first", got, want)
				}
			})
		})
	}
}

// TestEndWithoutDescriptors: a shell ends also when no file can be opened, by which its processes are found. It
// does not run beside other tests, which want to open some.
func TestEndWithoutDescriptors(t *testing.T) {
	p, err := start(command{shell: "/bin/sh", size: size{80, 24}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	if fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EMFILE) {
		unix.Close(fd)
		t.Fatalf("a file can be opened: %v", err)
	}
	ended := make(chan exit, 1)
	go func() { ended <- p.Wait() }()
	p.Kill()
	select {
	case how := <-ended:
		if how.signal == "" && how.status == 0 {
			t.Errorf("the shell ended by itself: %+v", how)
		}
	case <-time.After(patient):
		t.Fatal("the shell is still there")
	}
}
