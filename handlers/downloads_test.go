package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"borealis/static/downloads"

	"github.com/google/go-cmp/cmp"
)

// The agents that the engines of these tests carry.
const (
	windowsAgent = "borealis-agent-windows-amd64.exe"
	linuxAgent   = "borealis-agent-linux-amd64"
)

var agents = map[string]string{windowsAgent: "MZ, an agent for Windows", linuxAgent: "#!/bin/sh\necho agent \"$@\"\n"}

// carried is a set of the agents of these tests.
func carried(t *testing.T) *downloads.Set {
	t.Helper()
	fsys := fstest.MapFS{"manifest": {Data: []byte("a manifest")}}
	for name, body := range agents {
		fsys[name] = &fstest.MapFile{Data: []byte(body)}
	}
	s, err := downloads.New(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sumOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func TestDownloads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.stranger()
	want := fmt.Sprintf("%s  %s\n%s  %s\n", sumOf(agents[windowsAgent]), windowsAgent, sumOf(agents[linuxAgent]), linuxAgent)
	if a := c.do(http.MethodGet, "/downloads/", ""); a.StatusCode != http.StatusOK || a.body != want {
		t.Errorf("the list: %d %s", a.StatusCode, a.body)
	}
	for name, body := range agents {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := c.do(method, "/downloads/"+name, "")
			got := map[string]string{"status": strconv.Itoa(a.StatusCode), "body": a.body}
			want := map[string]string{
				"status": "200", "body": body, "Content-Length": strconv.Itoa(len(body)), "Content-Type": "application/octet-stream",
				"Etag": `"` + sumOf(body) + `"`, "X-Content-Sha256": sumOf(body), "Content-Disposition": `attachment; filename="` + name + `"`,
				"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Content-Encoding": "",
			}
			if method == http.MethodHead {
				want["body"] = ""
			}
			for h := range want {
				if h != "status" && h != "body" {
					got[h] = a.Header.Get(h)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s (-want +got)\n%s", method, name, diff)
			}
		}
		if a := c.do(http.MethodGet, "/downloads/"+name, "", "Range", "bytes=4-"); a.StatusCode != http.StatusPartialContent || a.body != body[4:] {
			t.Errorf("the rest of it: %d %q", a.StatusCode, a.body)
		}
		if a := c.do(http.MethodGet, "/downloads/"+name, "", "If-None-Match", `"`+sumOf(body)+`"`); a.StatusCode != http.StatusNotModified {
			t.Errorf("one that is there already: %d", a.StatusCode)
		}
	}
	for _, name := range []string{"manifest", "borealis-agent-windows-arm64.exe", "README.md", "..%2fdownloads.go"} {
		if p := c.do(http.MethodGet, "/downloads/"+name, "").problem(t); p.Code != codeNotFound {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := c.do(http.MethodGet, "/downloads/"+windowsAgent, "", "Host", "elsewhere.example").problem(t); p.Code != codeWrongHost {
		t.Errorf("by another name: %+v", p)
	}
}

// TestDownloadsAtATime: one address cannot take what the others need, and none of them
// what the agents do.
func TestDownloadsAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	here, there := r.stranger(), r.strangerFrom("127.0.0.2")
	var last func()
	for range maxSourceDownloads {
		leave, err := r.downloads.enter("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		last = leave
	}
	a := here.do(http.MethodGet, "/downloads/"+windowsAgent, "")
	if p := a.problem(t); p.Code != codeTooMany || a.Header.Get("Retry-After") != "10" {
		t.Errorf("%+v %v", p, a.Header)
	}
	if a := there.do(http.MethodGet, "/downloads/"+windowsAgent, ""); a.StatusCode != http.StatusOK {
		t.Errorf("from another address: %d", a.StatusCode)
	}
	last()
	for range 3 { // each leaves when it is over
		if a := here.do(http.MethodGet, "/downloads/"+windowsAgent, ""); a.StatusCode != http.StatusOK {
			t.Errorf("when one is over: %d", a.StatusCode)
		}
	}
	for i := range maxDownloads - maxSourceDownloads + 1 {
		if _, err := r.downloads.enter(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if p := there.do(http.MethodGet, "/downloads/"+windowsAgent, "").problem(t); p.Code != codeTooMany {
		t.Errorf("%+v", p)
	}
	if _, err := r.agentDownloads.enter("an agent"); err != nil {
		t.Errorf("an agent has no room: %v", err)
	}
}

// TestLongDownload: a stranger's connection that is being served is not idle, however
// long it takes.
func TestLongDownload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, other := net.Pipe()
		defer other.Close()
		d := new(door)
		v := d.enter(conn)
		v.asks()
		first, second := v.busy(), v.busy()
		time.Sleep(10 * strangerIdle)
		first()
		v.asks()
		time.Sleep(10 * strangerIdle)
		if err := conn.SetDeadline(time.Time{}); err != nil {
			t.Fatalf("it is cut off while a download is under way: %v", err)
		}
		second()
		time.Sleep(strangerIdle + time.Second)
		if err := conn.SetDeadline(time.Time{}); err == nil {
			t.Error("it stays open when all is over")
		}
	})
}
