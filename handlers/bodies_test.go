package handlers

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"borealis/handlers/access"
	"borealis/store"

	"github.com/google/uuid"
)

// bodiesPerRoute is how many malformed bodies each route gets that takes one.
func bodiesPerRoute() int {
	if withRaceDetector {
		return 100
	}
	return 1000
}

// TestMalformedBodies sends an administrator's malformed bodies to every route that takes
// one: only the client is ever at fault, and nothing is done for what cannot be read.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	type job struct {
		row          route
		path, cookie string
	}
	var jobs []job
	for _, row := range r.table() {
		if row.method == http.MethodGet || row.method == http.MethodHead {
			continue
		}
		o := r.operatorWith("admin-"+fmt.Sprint(len(jobs)), access.Admin)
		id := uuid.NewString()
		if strings.HasPrefix(strings.TrimPrefix(row.pattern, "/api"), "/devices/") {
			d, _ := r.device("pc", store.Pending)
			id = d.ID
		}
		path := strings.NewReplacer("{id}", id, "{act}", []string{"set", "add", "remove", "default", "reset", "close", "undo"}[len(jobs)%7]).Replace(row.pattern)
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + uuid.NewString() + after
		}
		jobs = append(jobs, job{row, path, r.session(o, store.Session{ExpiresAt: time.Now().Add(time.Hour)})})
	}
	if len(jobs) < 20 {
		t.Fatalf("only %d routes take a body", len(jobs))
	}
	queue := make(chan job)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for one := range queue {
				begun := time.Now()
				r.sendBodies(one.row, one.path, one.cookie)
				if took := time.Since(begun); testing.Verbose() {
					t.Logf("%s %s: %s", one.row.method, one.path, took.Round(time.Millisecond))
				}
			}
		})
	}
	for _, one := range jobs {
		queue <- one
	}
	close(queue)
	workers.Wait()
	for _, fault := range []string{"panic", "request_failed", "render_failed"} {
		if _, text, found := strings.Cut(r.logs.String(), fault); found {
			t.Errorf("the log tells of a fault: %s%.1500s", fault, text)
		}
	}
}

// sendBodies sends a route its bodies, in the process: what is in front of the routes is
// the same.
func (r *rig) sendBodies(row route, path, cookie string) {
	hash := fnv.New64a()
	hash.Write([]byte(row.method + row.pattern))
	random := rand.New(rand.NewPCG(hash.Sum64(), 1))
	for range bodiesPerRoute() {
		kind, body := malformed(random)
		q := httptest.NewRequestWithContext(r.t.Context(), row.method, "https://localhost"+path, strings.NewReader(body))
		if kind != "" {
			q.Header.Set("Content-Type", kind)
		}
		if strings.HasSuffix(path, "/ports") {
			q.Header.Set("If-Match", []string{`"0"`, `"1"`, `*`, `"9223372036854775808"`, "\x00", `"0", "1"`}[random.IntN(6)])
		}
		q.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
		w := &deadlineRecorder{httptest.NewRecorder()}
		r.Server.operator.ServeHTTP(w, q)
		what := fmt.Sprintf("%s %s, %q %.200q: %d %.200s", row.method, path, kind, body, w.Code, w.Body)
		switch {
		case w.Code >= 500:
			r.t.Errorf("a fault: %s", what)
		case w.Code < 400 && strings.HasPrefix(path, "/api/"):
			if body != "" && (!isOfType(q, "application/json") || !json.Valid([]byte(body)) || !strings.HasPrefix(strings.TrimSpace(body), "{") || len(body) > maxBody) {
				r.t.Errorf("accepted: %s", what)
			}
		case w.Code < 400 && body != "":
			if _, err := url.ParseQuery(body); takesForm(row) && (err != nil || !isOfType(q, "application/x-www-form-urlencoded") || len(body) > maxBody) {
				r.t.Errorf("accepted: %s", what)
			}
		}
		if !utf8.Valid(w.Body.Bytes()) {
			r.t.Errorf("the answer is not text: %s", what)
		}
	}
}

// takesForm reports whether a route of the pages reads its body; some are mere buttons.
func takesForm(row route) bool {
	for _, name := range []string{"/disconnect", "/ports/{act}", "/enrolment/codes", "/lock", "/operators", "/role"} {
		if strings.HasSuffix(row.pattern, name) {
			return true
		}
	}
	return false
}

// A deadlineRecorder is a recorder that takes deadlines, and ignores them.
type deadlineRecorder struct{ *httptest.ResponseRecorder }

func (*deadlineRecorder) SetReadDeadline(time.Time) error  { return nil }
func (*deadlineRecorder) SetWriteDeadline(time.Time) error { return nil }

// What is right about one route or another, so that the mutations come far.
var (
	goodJSON = []string{
		`{"device_id":"x","new":true}`, `{"tunnel_id":"x","force":true}`, `{"device_id":"x","tunnel_id":"y","force":false}`,
		`{"services":{"ssh":{"allowed":true,"for_seconds":60,"reason":"x"},"rdp":{"allowed":false,"until":"2030-01-01T00:00:00Z"}},"custom":[{"protocol":"tcp","from":1,"to":2,"label":"x","allowed":true}]}`,
		`{"uses":0,"ttl_seconds":3600,"auto_approve":true,"site":"x"}`, `{"kind":"planet","target":"x","reason":"y","until":"2030-01-01T00:00:00Z"}`,
		`{"name":"","role":"root","sites":["a","b"]}`, `{"role":"root","sites":["a"]}`, `{"decision":"perhaps"}`, `{"id":"x","rawId":"x","type":"public-key","response":{"clientDataJSON":"x"}}`,
	}
	goodForms = []string{
		"revision=0&row=ssh&allowed=1&detailed=1&for=30m&reason=x", "revision=0&protocol=tcp&port=1-2&label=x", "revision=0&confirmed=1", "force=1",
		"uses=0&ttl=1h&site=x&approve=1", "reason=x&for=1h&site=x", "name=&role=root&site=a&site=b", "password=x&name=y&next=/", "code=123456", "decision=perhaps", "current=x&password=y&again=z",
	}
)

// malformed makes a body that nobody sends by using the product.
func malformed(random *rand.Rand) (kind, body string) {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	if random.IntN(2) == 0 {
		kind, body = "application/json", mutateJSON(random, pick(goodJSON...))
	} else {
		kind, body = "application/x-www-form-urlencoded", mutateForm(random, pick(goodForms...))
	}
	if random.IntN(6) == 0 {
		kind = pick("", "text/plain", "text/html", "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/jsonp", "application/", "; charset=x",
			"application/json, text/html", "APPLICATION/JSON", "application/x-www-form-urlencoded; charset=utf-7", "\xff", strings.Repeat("a/", 500))
	}
	return kind, body
}

func mutateJSON(random *rand.Rand, good string) string {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	at := random.IntN(len(good))
	odd := []string{
		"null", "true", "[]", "{}", `""`, "-1", "0", "1e999", "-1e-999", "9223372036854775808", "99999999999999999999999999", "1.5", `"\ud800"`, `"\u0000"`, "\"\x00\"", "\"\xff\"", `"` + strings.Repeat("a", 3000) + `"`, "NaN", "Infinity", "0x10", "01", "'x'", `[[1]]`, `{"a":{"b":1}}`, `["a",1,null]`,
		strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), `"2030-13-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"\u202e"`, `"../../etc/passwd"`, `"'; DROP TABLE device; --"`, `"<script>alert(1)</script>"`,
	}
	switch random.IntN(14) {
	case 0: // cut
		return good[:at]
	case 1: // a byte is another one
		return good[:at] + string([]byte{byte(random.IntN(256))}) + good[at+1:]
	case 2: // something in between
		return good[:at] + pick("\x00", "\xff\xfe", "\xc3\x28", "\ufeff", "//x\n", "/*", ",", ":", "{", "}", "[", "]", "\\", "\"") + good[at:]
	case 3, 4, 5, 6: // another value
		var fields map[string]json.RawMessage
		_ = json.Unmarshal([]byte(good), &fields)
		text, n, chosen := "{", 0, random.IntN(len(fields))
		for name, value := range fields {
			if n > 0 {
				text += ","
			}
			if n++; n-1 == chosen {
				value = json.RawMessage(pick(odd...))
			}
			text += fmt.Sprintf("%q:%s", name, value)
		}
		return text + "}"
	case 7: // a field twice
		return strings.TrimSuffix(good, "}") + "," + good[1:]
	case 8: // a field that there is not
		return strings.TrimSuffix(good, "}") + `,"` + pick("x", "__proto__", "", "ID", "\u0000", "admin", strings.Repeat("f", 500)) + `":` + pick(odd...) + "}"
	case 9: // in place of the object
		return pick(odd...)
	case 10: // more after it
		return good + pick(good, "x", "]", "{}", "null", "\x00")
	case 11: // other letters
		return strings.ToUpper(good)
	case 12: // far too much of it
		return pick(strings.Repeat(" ", maxBody+1)+good, `{"site":"`+strings.Repeat("x", 70000)+`"}`, strings.Repeat("[", 40000), `{"sites":[`+strings.Repeat(`"a",`, 5000)+`"a"]}`)
	}
	noise := make([]byte, random.IntN(200)) // nothing of it
	for i := range noise {
		noise[i] = byte(random.IntN(256))
	}
	return string(noise)
}

func mutateForm(random *rand.Rand, good string) string {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	at := random.IntN(len(good))
	odd := []string{"", "%00", "%ff%fe", "\x00", "\xff", "%", "%zz", "%e2%80%ae", "+", "%2b", "-1", "1e9", "9223372036854775808", "0x1", "true", "null", "%0d%0aX:%20y", "..%2f..%2f", "%3Cscript%3E", "'--", strings.Repeat("a", 3000), strings.Repeat("%f0%9f%98%80", 100), "{}", "1&1", ";", "1;2"}
	pairs := strings.Split(good, "&")
	chosen := random.IntN(len(pairs))
	name, _, _ := strings.Cut(pairs[chosen], "=")
	switch random.IntN(10) {
	case 0:
		return good[:at]
	case 1:
		return good[:at] + string([]byte{byte(random.IntN(256))}) + good[at+1:]
	case 2, 3, 4, 5:
		pairs[chosen] = name + "=" + pick(odd...)
		return strings.Join(pairs, "&")
	case 6:
		return good + "&" + name + "=" + pick(odd...) // twice
	case 7:
		return pick(odd...) + "=" + pick(odd...) + "&" + good
	case 8:
		return pick(name+"="+strings.Repeat("x", maxBody), strings.Repeat("a=b&", 10000), strings.Repeat("&", 5000), strings.Repeat("=", 5000), name+"[]=1&"+name+"[x]=2")
	}
	return pick(odd...)
}
