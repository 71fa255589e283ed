package handlers

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"borealis/handlers/access"
	"borealis/store"
)

// TestWrongTokens: a source that keeps guessing has to wait, and a right token from there
// does not.
func TestWrongTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good, bad := r.program("script", access.Viewer), r.stranger()
	refused := 0
	for range 20 {
		bad.token, _ = NewAPIToken()
		a := bad.do(http.MethodGet, "/api/devices", "")
		switch p := a.problem(t); p.Code {
		case codeUnauthenticated:
			if refused > 0 {
				t.Fatal("the penalty ends by itself")
			}
		case codeTooMany:
			if refused++; p.Retry < 1 || a.Header.Get("Retry-After") == "" {
				t.Errorf("%+v", p)
			}
		default:
			t.Fatalf("%+v", p)
		}
	}
	if refused < 5 || refused > 15 {
		t.Errorf("%d of 20 wrong tokens had to wait", refused)
	}
	if a := good.do(http.MethodGet, "/api/devices", ""); a.StatusCode != http.StatusOK {
		t.Errorf("a right token from there: %d %s", a.StatusCode, a.body)
	}
	if n, err := r.store.CountRecords(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "token_refused"}); err != nil || n != 20-refused {
		t.Errorf("%d are on record, %v, of %d", n, err, 20-refused)
	}
	if len(r.sources.owing) != 0 {
		t.Error("people of that source cannot sign in")
	}
}

// TestWrongTickets: a session that comes with bad tickets has to wait, and no other one.
func TestWrongTickets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := newTickets()
		get := func(session string) string {
			text, err := all.issue(session, "pc")
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		for range 12 {
			if err := all.redeem("guess", "ann", "pc", nil); problemOf(err).Code != codeBadTicket {
				t.Fatal(err)
			}
		}
		if p := problemOf(all.redeem(get("ann"), "ann", "pc", nil)); p.Code != codeTooMany || p.Retry != 60 {
			t.Errorf("%+v", p)
		}
		if err := all.redeem(get("bob"), "bob", "pc", nil); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalRecords: of many refusals of a kind, a minute has a hundred lines, and one
// that says how many more there were.
func TestRefusalRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		f := refusals{summary: func(kind string, more int) { lines = append(lines, fmt.Sprint(kind, " ", more)) }}
		admitted := 0
		for range 350 {
			if f.admit("sign_in_failed") {
				admitted++
			}
		}
		if admitted != maxRefusalRecords || !f.admit("token_refused") {
			t.Errorf("%d were admitted", admitted)
		}
		f.work.Wait() // the minute ends
		if got := strings.Join(lines, ", "); got != "sign_in_failed 250" {
			t.Errorf("afterwards: %s", got)
		}
		if !f.admit("sign_in_failed") {
			t.Error("the next minute has no lines")
		}
		for range maxRefusalRecords + 4 {
			f.admit("sign_in_failed")
		}
		f.close() // does not wait for the minute
		if got := strings.Join(lines, ", "); got != "sign_in_failed 250, sign_in_failed 5" {
			t.Errorf("at the end: %s", got)
		}
		if f.admit("sign_in_failed") {
			t.Error("a line is admitted after the end")
		}
	})
}

// TestRefusalsOnRecord: strangers do not flood the audit trail, and closing writes down
// what was left out.
func TestRefusalsOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range maxRefusalRecords + 20 {
		r.recordRefusal(t.Context(), store.Record{Kind: "sign_in_failed", Source: "192.0.2.1"})
	}
	r.Server.Close()
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "sign_in_failed", Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != maxRefusalRecords+1 || lines[0].Detail != "20 more within a minute" || lines[0].Result != store.Refused {
		t.Errorf("%d lines, the last is %+v", len(lines), lines[0])
	}
}

// TestSignInFlood tries a thousand names at once. It runs alone, because it measures the
// process.
func TestSignInFlood(t *testing.T) {
	const tries, most = 1000, 200 << 20
	r := newRig(t)
	r.person("ann")
	clients := make([]*client, 5)
	for i := range clients {
		clients[i] = r.strangerFrom(fmt.Sprintf("127.0.3.%d", i+1))
		clients[i].do(http.MethodGet, "/login", "") // a connection is there already
	}
	debug.FreeOSMemory()
	before, peak, stop := resident(t), make(chan int64), make(chan struct{})
	go func() {
		high := int64(0)
		for {
			select {
			case <-stop:
				peak <- high
				return
			default:
				high = max(high, resident(t))
				runtime.Gosched()
			}
		}
	}()
	var work sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	begin := make(chan struct{})
	for i := range tries {
		work.Go(func() {
			<-begin
			a := clients[i%len(clients)].post("/login", signInForm(fmt.Sprintf("name-%d", i), "wrong wrong wrong wrong", ""))
			mu.Lock()
			statuses[a.StatusCode]++
			mu.Unlock()
		})
	}
	close(begin)
	ann := r.strangerFrom("127.0.4.1")
	if a := ann.post("/login", signInForm("ann", testPassword, "/devices")); a.StatusCode != http.StatusSeeOther {
		t.Errorf("a good sign-in meanwhile: %d %s", a.StatusCode, a.body)
	}
	work.Wait()
	close(stop)
	grown := <-peak - before
	t.Logf("%v, memory grew by %d MiB", statuses, grown>>20)
	if grown > most && !withRaceDetector {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if statuses[http.StatusUnauthorized]+statuses[http.StatusTooManyRequests] != tries || statuses[http.StatusUnauthorized] > 3*len(clients) {
		t.Errorf("the answers were %v", statuses)
	}
	if n, err := r.store.CountRecords(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "sign_in_failed"}); err != nil || n > maxRefusalRecords {
		t.Errorf("%d are on record, %v", n, err)
	}
}

// resident is the process's memory in bytes.
func resident(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("there is no /proc: ", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
