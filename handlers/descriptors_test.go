package handlers

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDescriptorsAreCounted opens files and sees that they are counted.
func TestDescriptorsAreCounted(t *testing.T) {
	limit := descriptorLimit()
	before, ok := openDescriptors()
	if limit <= 0 || !ok {
		t.Skip("this system does not tell")
	}
	for range 100 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	after, _ := openDescriptors()
	if after < before+90 || after > before+200 { // other things are opened and closed at the same time
		t.Errorf("%d are open, %d before a hundred were opened", after, before)
	}
}

// TestFewDescriptors: agents are refused while operators still find room, and one line in a minute
// says so. Connections that came since the last count are counted by themselves.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logs logBuffer
		open := 0
		d := door{log: slog.New(slog.NewTextHandler(&logs, nil))}
		d.descriptors.limit, d.descriptors.count = 2000, func() (int, bool) { return open, true }
		refused := func(want bool, what string) {
			t.Helper()
			if err := d.admitAgent("192.0.2.1:1"); errors.Is(err, errNoDescriptors) != want {
				t.Errorf("%s: %v", what, err)
			}
		}
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		open = 1400
		refused(false, "600 are left")
		d.open.Add(88)
		refused(false, "512 are left")
		d.open.Add(1)
		refused(true, "511 are left")
		d.open.Add(-1)
		refused(false, "512 are left again")
		open = 1600
		refused(false, "at once after a count")
		pass(countEvery)
		refused(true, "400 are left")
		pass(countEvery)
		refused(true, "400 are left")
		if n := strings.Count(logs.String(), "agents_refused"); n != 1 {
			t.Errorf("%d lines for three refusals in a moment:\n%s", n, &logs)
		}
		pass(crowdedLog)
		refused(true, "400 are left")
		if n := strings.Count(logs.String(), "agents_refused"); n != 2 || !strings.Contains(logs.String(), "count=3") {
			t.Errorf("%d lines a minute later:\n%s", n, &logs)
		}
		if n := d.agentsRefused.Load(); n != 4 {
			t.Errorf("%d refusals are counted", n)
		}
		d.descriptors.limit = 300 // a small limit is halved
		pass(countEvery)
		open = 150
		refused(false, "150 of 300 are left")
		pass(countEvery)
		open = 151
		pass(countEvery)
		refused(true, "149 of 300 are left")
		d.descriptors.limit = 0
		refused(false, "nobody knows")
	})
}

// TestFewDescriptorsMakeRoom: when operators' own are about to be used up too, who has proven nothing
// for longest makes room for who comes.
func TestFewDescriptorsMakeRoom(t *testing.T) {
	t.Parallel()
	d := door{log: slog.New(slog.DiscardHandler)}
	d.descriptors.limit, d.descriptors.count = 2000, func() (int, bool) { return 0, true }
	enter := func(from string) (*visitor, *fakeConn) {
		conn := &fakeConn{from: from}
		v := d.enter(conn)
		if v == nil {
			t.Fatalf("%s is refused", from)
		}
		t.Cleanup(v.known)
		return v, conn
	}
	_, silent := enter("10.0.0.1:1")
	asked, strange := enter("10.0.0.2:1")
	asked.asks()
	friend, trusted := enter("10.0.0.3:1")
	friend.known()
	d.open.Add(2000 - 300)
	enter("10.0.0.4:1")
	if silent.closed || strange.closed {
		t.Error("somebody is put out though there is room")
	}
	d.open.Add(60)
	_, next := enter("10.0.0.5:1")
	if !silent.closed || strange.closed {
		t.Error("not the one who said nothing for longest is put out")
	}
	enter("10.0.0.6:1")
	enter("10.0.0.7:1")
	if !next.closed {
		t.Error("who waits is not put out")
	}
	if trusted.closed {
		t.Error("who is known is put out")
	}
}

// TestSoftLimitIsRaised: a program of Go may open as many files as its hard limit says, whatever the
// soft one was when it was started. The engine relies on that.
func TestSoftLimitIsRaised(t *testing.T) {
	const child = "BOREALIS_TEST_SOFT_LIMIT"
	if os.Getenv(child) != "" {
		if limit := descriptorLimit(); limit <= 256 {
			t.Errorf("the limit is %d", limit)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(t.Context(), "/bin/sh", "-c", `ulimit -Sn 256 && ulimit -Hn 2000 && exec "$0" -test.run '^TestSoftLimitIsRaised$'`, self)
	again.Env = append(os.Environ(), child+"=1")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
