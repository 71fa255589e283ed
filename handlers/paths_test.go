package handlers

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// mutations are the ways to write a path so that one part of a server may take it for
// another path than the next part does.
func mutations(path string) []string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	first, last := segments[0], segments[len(segments)-1]
	upper := strings.ToUpper(path[:1]) + strings.ToUpper(path[1:])
	all := []string{
		"/" + path, "//" + path, "/." + path, "/.." + path, "/x/.." + path, "/./" + path[1:], "/login/.." + path, "/login/../.." + path,
		"/_s/.." + path, "/_s/..%2f" + path[1:], "/_s/%2e%2e" + path, "/_s/%2e%2e%2f" + path[1:], "/_s/..;" + path, "/_s/..%5c" + path[1:], "/_s/.%2e" + path,
		"/healthz/.." + path, "/healthz;" + path, "/healthz%3b" + path, "/favicon.ico/.." + path, "/%2e" + path, "/%2e%2e" + path, "/%2f" + path[1:], "%2f" + path[1:],
		path + "/", path + "//", path + "/.", path + "/..", path + "/../" + last, path + "/x/..", path + "/%2e", path + "/%2e%2e", path + "%2f", path + "%2F", path + "%5c", path + "\\",
		path + ";x", path + ";x=y", path + "%3bx", path + ";/", path + "/;/", path + "%00", path + "%00.css", path + "%20", path + "%09", path + "%0a", path + "%0d%0aX:y", path + ".", path + "..", path + ".json", path + ".css", path + "%", path + "%2", path + "%zz",
		path + "?x", path + "%3fx", path + "%23", path + "?/../login", path + "/login", path + "/_s/app.css", path + "/healthz",
		upper, strings.ReplaceAll(path, "/", "//"), strings.ReplaceAll(path, "/", "/./"), strings.ReplaceAll(path, "/", "%2f"), "/" + strings.ReplaceAll(path[1:], "/", "%2F"), strings.ReplaceAll(path, "/", "\\"), strings.ReplaceAll(path, "/", "/%2e/"),
		"/\u2024\u2024" + path, "/%e2%80%a4%e2%80%a4" + path, "/%c0%ae%c0%ae" + path, "/%c0%af" + path[1:], "/%ef%bc%8e%ef%bc%8e" + path, "/%ef%bc%8f" + path[1:], "/%u002e%u002e" + path, "/%252e%252e" + path, "/%252f" + path[1:], "/%e0%80%ae" + path,
		"/" + first + "%00" + strings.TrimPrefix(path, "/"+first), "/\u200b" + path[1:], path + "\u200b", "/" + fmt.Sprintf("%%%02x", path[min(1, len(path)-1)]) + path[min(2, len(path)):],
		path + strings.Repeat("/", 2000), path + strings.Repeat("a", 8000), strings.Repeat("/..", 500) + path, strings.Repeat("/.", 500) + path, "/" + strings.Repeat("%2e%2e/", 300) + path[1:],
		"https://localhost" + path, "http://evil.example" + path, "https://evil.example/login/.." + path, "//evil.example" + path, "*", "localhost:443",
	}
	for i := range segments { // each segment by itself
		for _, change := range []func(string) string{
			strings.ToUpper, url.QueryEscape, func(s string) string { return s + " " }, func(s string) string { return s + "%20" }, func(s string) string { return s + ";a=b" }, func(s string) string { return "%2e/" + s },
		} {
			one := slices.Clone(segments)
			one[i] = change(one[i])
			all = append(all, "/"+strings.Join(one, "/"))
		}
	}
	return all
}

// TestPathMutations asks for every route's path in every odd spelling, as a stranger. Only
// the public routes themselves are answered.
func TestPathMutations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	public := make(map[string]bool)
	style := r.style()
	type try struct{ method, path string }
	tries := make(map[try]bool)
	for _, row := range r.table() {
		path := strings.NewReplacer("{tab}", "summary", "{act}", "set", "/_s/*", style).Replace(row.pattern)
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + uuid.NewString() + after
		}
		if row.needs == anyone {
			public[row.method+" "+path] = true
		}
		if row.method == http.MethodHead {
			continue
		}
		for i, m := range mutations(path) {
			if !withRaceDetector || i%5 == 0 {
				tries[try{row.method, m}] = true
			}
		}
	}
	t.Logf("%d paths", len(tries))
	if len(tries) < 1000 {
		t.Error("these are too few")
	}
	work := make(chan try)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			c := rawClient{rig: r}
			defer c.close()
			for one := range work {
				status, location, body := c.ask(one.method, one.path)
				plain, _, _ := strings.Cut(strings.TrimPrefix(one.path, "https://localhost"), "?")
				switch {
				case public[one.method+" "+plain], public[one.method+" "+unescaped(plain)]:
				case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusNotFound, status == http.StatusMisdirectedRequest:
				case status == http.StatusSeeOther && strings.HasPrefix(location, "/login?next="):
				case status == http.StatusRequestHeaderFieldsTooLarge:
				default:
					t.Errorf("%s %.120q: %d %s %.100s", one.method, one.path, status, location, body)
				}
				if status == http.StatusOK && strings.Contains(body, "nav-devices") {
					t.Errorf("%s %.120q shows the console", one.method, one.path)
				}
			}
		})
	}
	for one := range tries {
		work <- one
	}
	close(work)
	workers.Wait()
	if text := r.logs.String(); strings.Contains(text, "panic") || strings.Contains(text, "request_failed") {
		t.Errorf("the log tells of faults: %.500s", text[strings.Index(text, "request_failed"):])
	}
}

// unescaped is a path whose needless escapes are gone, when nothing else about it is odd:
// %61 is an a, and means nothing else.
func unescaped(path string) string {
	if strings.Contains(strings.ToLower(path), "%2f") {
		return path
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return plain
}

// A rawClient sends paths as they are.
type rawClient struct {
	rig    *rig
	conn   *tls.Conn
	reader *bufio.Reader
}

func (c *rawClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// ask sends one request. A connection that the server has closed is opened anew.
func (c *rawClient) ask(method, path string) (status int, location, body string) {
	c.rig.t.Helper()
	for again := range 2 {
		fresh := c.conn == nil
		if fresh {
			conn, err := tls.Dial("tcp", c.rig.address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
			if err != nil {
				c.rig.t.Error(err)
				return 0, "", ""
			}
			c.conn, c.reader = conn, bufio.NewReader(conn)
		}
		_ = c.conn.SetDeadline(time.Now().Add(testTimeout))
		_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n", method, path)
		var response *http.Response
		if err == nil {
			response, err = http.ReadResponse(c.reader, &http.Request{Method: method})
		}
		if err != nil {
			c.close()
			if fresh || again > 0 {
				c.rig.t.Errorf("%s %.120q: %v", method, path, err)
				return 0, "", ""
			}
			continue
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.Close {
			c.close()
		}
		return response.StatusCode, response.Header.Get("Location"), string(text)
	}
	return 0, "", ""
}
