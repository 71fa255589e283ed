package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/cmd/borealis/engine"
	"borealis/tunnel/wg/nstest"
)

// page is a page of the console as its text.
func (c *client) page(ctx context.Context, path string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// refusal is a problem document as far as these tests look at it.
type refusal struct {
	Status             int
	Code, Detail, Hint string
}

// joins connects as somebody else, and leaves, which is on record each time, until that is
// refused, or until it is not refused any more.
func (c *client) joins(ctx context.Context, refused bool) refusal {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var p refusal
		code := c.do(ctx, http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": c.device}, &p)
		if refused == (code != http.StatusOK) {
			return p
		}
		c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, nil)
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("connect answers %d %+v", code, p)
		}
	}
}

// untilPage asks for a page until it says something, or does not.
func (c *client) untilPage(ctx context.Context, path, says string, want bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		code, body := c.page(ctx, path)
		if code == http.StatusOK && strings.Contains(body, says) == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("%s: %d; says %q: %v", path, code, says, !want)
		}
	}
}

// TestFullDisk fills the disk under an engine with a live tunnel and an open shell: what has
// to be recorded is refused and says why, the console shows everything and says what to do,
// and with space again all goes on without anybody's help.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	ctx := t.Context()
	disk := t.TempDir()
	if err := unix.Mount("borealis-test", disk, "tmpfs", 0, "size=48m,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	data := filepath.Join(disk, "root")
	c, d := startDemo(t, "--data", data)
	c.connect(ctx)
	c.untilUp(ctx)
	w := c.terminal(ctx, "", -1)
	w.typed(ctx, "echo be\"fore\"\r")
	w.expect(ctx, "before")
	jon := newClient(t, d.URL, apiToken(t, data, "jon"))
	jon.device = d.DeviceID
	browser := newClient(t, d.URL, "")
	browser.signIn(ctx, d.Operator, d.Password)

	filler := fillDisk(t, disk)
	if p := jon.joins(ctx, true); p.Status != http.StatusServiceUnavailable || p.Code != "disk_full" || !strings.Contains(p.Detail, "disk is full") || !strings.Contains(p.Hint, "Free some space") {
		t.Errorf("connect on a full disk: %+v", p)
	}
	const says = "The disk is full: the engine&#39;s database cannot be written."
	browser.untilPage(ctx, "/devices", says, true)
	for _, path := range []string{"/devices/" + d.DeviceID + "/summary", "/tunnels", "/activity", "/enrolment", "/audit", "/operators"} {
		if code, body := browser.page(ctx, path); code != http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("%s on a full disk: %d", path, code)
		}
	}
	w.typed(ctx, "echo mean\"while\"\r") // for a minute shells go on
	w.expect(ctx, "meanwhile")
	var p refusal
	if code := c.do(ctx, http.MethodPost, "/api/locks", map[string]any{"kind": "device", "target": d.DeviceID, "reason": "x"}, &p); code != http.StatusServiceUnavailable || p.Code != "disk_full" {
		t.Errorf("a lock on a full disk: %d %+v", code, p)
	}
	elsewhere := t.TempDir()
	recipient := strings.TrimSpace(must(t, "backup", "new-key", filepath.Join(elsewhere, "identity")))
	for _, to := range []string{filepath.Join(disk, "one.age"), filepath.Join(elsewhere, "one.age")} {
		if code, _, text := call(t, "backup", to, "--recipient", recipient, "--data", data); code != exitFailed || !strings.Contains(text, "disk is full") && !strings.Contains(text, "no space for it") || !strings.Contains(text, "hint: free some space") {
			t.Errorf("backup on a full disk: exit %d, %q", code, text)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("there is a %s", to)
		}
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	jon.joins(ctx, false)
	browser.untilPage(ctx, "/devices", says, false)
	w.typed(ctx, "echo af\"terwards\"\r")
	w.expect(ctx, "afterwards")
	if said := must(t, "audit", "verify", "--data", data); !strings.Contains(said, "as they were written") {
		t.Errorf("audit verify: %s", said)
	}
	if all := recorded(t, data, "operator_joined"); len(all) == 0 || all[len(all)-1].Actor != "jon" || all[len(all)-1].Result != "done" {
		t.Errorf("on record: %+v", all)
	}
	must(t, "backup", filepath.Join(elsewhere, "one.age"), "--recipient", recipient, "--data", data)
}

// fillDisk takes all space that there is.
func fillDisk(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return filler
}

// TestDatabaseHeldByAnotherProgram: who wants to do something is told so after a few seconds,
// pages come at once, and afterwards all goes on.
func TestDatabaseHeldByAnotherProgram(t *testing.T) {
	ctx := t.Context()
	data := filepath.Join(t.TempDir(), "root")
	c, d := startDemo(t, "--data", data)
	c.connect(ctx)
	c.untilUp(ctx)
	jon := newClient(t, d.URL, apiToken(t, data, "jon"))
	jon.device = d.DeviceID
	browser := newClient(t, d.URL, "")
	browser.signIn(ctx, d.Operator, d.Password)
	conn, err := sqlite.OpenConn(engine.Root(data).Database(), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetBusyTimeout(time.Minute)
	do := func(statement string) {
		t.Helper()
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			t.Fatal(err)
		}
	}
	do("BEGIN EXCLUSIVE")
	if p := jon.joins(ctx, true); p.Status != http.StatusServiceUnavailable || p.Code != "database_busy" || !strings.Contains(p.Detail, "Another program holds") {
		t.Errorf("connect: %+v", p)
	}
	browser.untilPage(ctx, "/devices", "Another program holds the engine&#39;s database", true)
	do("ROLLBACK")
	jon.joins(ctx, false)
	browser.untilPage(ctx, "/devices", "Another program holds", false)
	if said := must(t, "audit", "verify", "--data", data); !strings.Contains(said, "as they were written") {
		t.Errorf("audit verify: %s", said)
	}
}

// TestDiskThatFails lets every sync fail under an engine with a live tunnel. It ends by
// itself with the tunnel, says why, and starts again when the disk is well.
func TestDiskThatFails(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	ctx := t.Context()
	d := newDrill(t)
	must(t, "operator", "add", "jon", "--data", d.data)
	d.serve()
	device := d.agent()
	c := d.client()
	c.device = device
	c.untilOnline(ctx)
	c.connect(ctx)
	c.untilUp(ctx)

	tracer := exec.Command(strace, "-f", "-p", strconv.Itoa(d.engine.Process.Pid), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	said, err := tracer.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tracer.Process.Kill() // it ends with the engine
		_ = tracer.Wait()
	})
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); !strings.Contains(line, " attached") {
		t.Skipf("strace may not look at other processes here: %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with strace
	var p refusal
	code := c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, &p)
	t.Logf("answered %d %+v", code, p)
	begun := time.Now()
	if code := d.end(nil); code != exitFailed {
		t.Errorf("it ended with %d", code)
	}
	t.Logf("the engine ended %v later", time.Since(begun))
	for _, want := range []string{"the engine ends: database cannot be written any more", "disk I/O error", "hint: the disk"} {
		if !strings.Contains(d.said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.said.String())
		}
	}
	d.serve()
	c.untilOnline(ctx)
	if st := c.status(ctx); st.State != "ended" {
		t.Errorf("the tunnel of before: %+v", st)
	}
	c.connect(ctx)
	c.untilUp(ctx)
	if code := d.end(os.Interrupt); code != exitDone {
		t.Errorf("then it ended with %d", code)
	}
	if said := must(t, "audit", "verify", "--data", d.data); !strings.Contains(said, "as they were written") {
		t.Errorf("audit verify: %s", said)
	}
}
