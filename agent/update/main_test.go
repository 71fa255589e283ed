package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The test's own program plays all parts: with the argument "watch-update" it is a watcher,
// and with "agent" it is the service's program. Copies of it differ in what is appended to
// them: their release, and how well they work.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "watch-update":
			os.Exit(actWatcher(os.Args[3], os.Args[5]))
		case "agent":
			os.Exit(actAgent(os.Args[2], os.Args[3]))
		}
	}
	m.Run()
}

// trailer begins what is appended to a program.
const trailer = "\n--release "

// How a program behaves.
const (
	good  = "good"  // It checks in.
	mute  = "mute"  // It runs and does not check in.
	brief = "brief" // It ends at once.
)

// actAgent is the service's program: it resumes an update, checks in and stays.
func actAgent(exe, data string) int {
	sequence, behaviour := partOf(exe)
	if behaviour == brief {
		return 1
	}
	_, err := lock(runningPath(data))
	for tries := 0; errors.Is(err, errLocked) && tries < 100; tries++ { // whoever asks whether it runs holds the lock for a moment
		<-time.After(5 * time.Millisecond)
		_, err = lock(runningPath(data))
	}
	if err != nil {
		return 2
	}
	p := Place{Exe: exe, Data: data}
	if err := p.Resume(); err != nil {
		note(data, "resume: "+err.Error())
	}
	if behaviour == good {
		s, news, err := p.Settle(sequence)
		if err != nil {
			note(data, "settle: "+err.Error())
		}
		if news {
			note(data, s.Phase+" "+s.To+" "+s.Reason)
		}
	}
	note(data, fmt.Sprintf("started %d", sequence))
	<-time.After(time.Minute) // Somebody ends it before.
	return 3
}

// actWatcher is the watcher.
func actWatcher(data, exe string) int {
	log, err := os.OpenFile(filepath.Join(data, "watch.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 2
	}
	patience := time.Minute
	if b, err := os.ReadFile(filepath.Join(data, "patience")); err == nil {
		if patience, err = time.ParseDuration(string(b)); err != nil {
			return 2
		}
	}
	if err := os.WriteFile(filepath.Join(data, "watcher"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return 2
	}
	p := Place{Exe: exe, Data: data}
	err = Watch(context.Background(), WatchConfig{
		Place: p, Service: p.service(), Patience: patience, Ready: os.Stdout, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	return 0
}

// service is a small service manager: it knows its program's process by a file, and that it
// runs by a lock that the process holds.
func (p Place) service() Service {
	running := func() bool {
		unlock, err := lock(runningPath(p.Data))
		if err == nil {
			unlock()
		}
		return errors.Is(err, errLocked)
	}
	until := func(ctx context.Context, ok func() bool) error {
		for !ok() {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	pidPath := filepath.Join(p.Data, "pid")
	return Service{
		Running: func() (bool, error) { return running(), nil },
		Start: func(ctx context.Context) error {
			if running() {
				return nil
			}
			program := exec.Command(p.Exe, "agent", p.Exe, p.Data)
			program.SysProcAttr = detached()
			if err := program.Start(); err != nil {
				return err
			}
			ended := make(chan struct{})
			go func() {
				_ = program.Wait()
				close(ended)
			}()
			if err := os.WriteFile(pidPath, []byte(strconv.Itoa(program.Process.Pid)), 0o600); err != nil {
				return err
			}
			return until(ctx, func() bool {
				select {
				case <-ended:
					return true
				default:
					return running()
				}
			})
		},
		Stop: func(ctx context.Context) error {
			if err := kill(pidPath); err != nil {
				return err
			}
			return until(ctx, func() bool { return !running() })
		},
	}
}

// kill ends the process whose id is in a file, if it runs.
func kill(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		return err
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
	return nil
}

func runningPath(data string) string { return filepath.Join(data, "running") }

// note writes a line for the test, which may be reading the file at the moment.
func note(data, line string) {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 1000 {
		f, err := os.OpenFile(filepath.Join(data, "notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			defer f.Close()
			fmt.Fprintln(f, line)
			return
		}
		<-again.C
	}
	panic("the notes cannot be written")
}

// partOf reads what is appended to a program.
func partOf(exe string) (sequence int64, behaviour string) {
	b, err := os.ReadFile(exe)
	if err != nil {
		panic(err)
	}
	at := bytes.LastIndex(b, []byte(trailer))
	words := strings.Fields(string(b[at+len(trailer):]))
	if sequence, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		panic(err)
	}
	return sequence, words[1]
}

// program is the test's own, with a release and a behaviour appended.
func program(t *testing.T, sequence int64, behaviour string) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(b, "%s%d %s", trailer, sequence, behaviour)
}
