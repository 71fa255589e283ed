package handlers

import (
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
)

// TestOrigins is every combination of headers with which a page can make a browser ask,
// for reading, for changing, and for the handshake of a terminal's socket.
func TestOrigins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Operator)
	own := "https://" + r.address
	port := r.address[strings.LastIndex(r.address, ":"):]
	const evil = "evil.example"
	for _, c := range []struct {
		name               string
		origin, site, host string // "" is without the header

		get, post, socket int // 101 is a socket, 200 is reached
	}{
		{"no headers", "", "", "", 200, 200, 403},
		{"our page", own, "same-origin", "", 200, 200, 101},
		{"our page, old browser", own, "", "", 200, 200, 101},
		{"typed by a person", "", "none", "", 200, 200, 403},
		{"our origin, but said to be none", own, "none", "", 200, 200, 403},
		{"a sister site", "https://sister.localhost", "same-site", "", 200, 403, 403},
		{"our origin from a sister site", own, "same-site", "", 200, 403, 403},
		{"our origin from another site", own, "cross-site", "", 200, 403, 403},
		{"another site", "https://" + evil, "cross-site", "", 200, 403, 403},
		{"another site, old browser", "https://" + evil, "", "", 200, 403, 403},
		{"another site without origin", "", "cross-site", "", 200, 403, 403},
		{"a sandboxed page", "null", "cross-site", "", 200, 403, 403},
		{"a sandboxed page, old browser", "null", "", "", 200, 403, 403},
		{"our page without referrer", "null", "same-origin", "", 200, 200, 403},
		{"our host without TLS", "http://" + r.address, "", "", 200, 200, 403}, // Strict cookies do not come from there
		{"our host without TLS, cross-site", "http://" + r.address, "cross-site", "", 200, 403, 403},
		{"another port", "https://127.0.0.1:1", "", "", 200, 403, 403},
		{"no port", "https://127.0.0.1", "", "", 200, 403, 403},
		{"another name of ours", "https://localhost" + port, "", "", 200, 403, 403},
		{"our name in theirs", "https://127.0.0.1." + evil + port, "", "", 200, 403, 403},
		{"their name before ours", "https://" + evil + "@" + r.address, "", "", 200, 200, 403}, // no browser sends this
		{"our origin in capitals", strings.ToUpper(own), "same-origin", "", 200, 200, 403},
		{"two origins", own + " " + own, "", "", 200, 403, 403},
		{"empty site", own, "", "", 200, 200, 101},
		{"unknown site", own, "same", "", 200, 403, 403},
		{"their name points to us", "https://" + evil, "same-origin", evil, 421, 421, 421},
		{"their name points to us, with our port", "https://" + evil + port, "same-origin", evil + port, 421, 421, 421},
		{"their name points to us, no headers", "", "", evil, 421, 421, 421},
		{"their host, our origin", own, "same-origin", evil, 421, 421, 421},
		{"our other name", "https://localhost" + port, "same-origin", "localhost" + port, 200, 200, 101},
	} {
		var headers []string
		add := func(name, value string) {
			if value != "" {
				headers = append(headers, name, value)
			}
		}
		add("Origin", c.origin)
		add("Sec-Fetch-Site", c.site)
		add("Host", c.host)
		if a := b.do(http.MethodGet, "/devices", "", headers...); a.StatusCode != c.get {
			t.Errorf("%s: GET %d, want %d", c.name, a.StatusCode, c.get)
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
			a := b.do(method, "/devices/"+d.ID+"/tunnel/keep-open", "", headers...)
			got := a.StatusCode
			if got == http.StatusConflict || got == http.StatusMethodNotAllowed { // it was reached: there is no tunnel
				got = 200
			}
			if got != c.post || got == 403 && a.problem(t).Code != codeCrossOrigin {
				t.Errorf("%s: %s %d, want %d: %s", c.name, method, a.StatusCode, c.post, a.body)
			}
		}
		// The dialler calls the host by the address, unless told otherwise.
		dial := []string{"Origin", c.origin, "Sec-Fetch-Site", c.site}
		if c.host != "" {
			dial = append(dial, "Host", c.host)
		}
		screen, response, err := b.dialTerminal(d.ID, dial...)
		got := 0
		if response != nil {
			got = response.StatusCode
		}
		if got != c.socket {
			t.Errorf("%s: socket %d, want %d: %v", c.name, got, c.socket, err)
		}
		if screen != nil {
			screen.conn.CloseNow()
		}
	}
}

// FuzzOrigin: what passes for our own page is our own page.
func FuzzOrigin(f *testing.F) {
	for _, seed := range [][3]string{
		{"https://localhost", "localhost", "same-origin"},
		{"https://localhost:8443", "localhost:8443", ""},
		{"null", "localhost", ""},
		{"", "", ""},
		{"https://localhost.evil", "localhost", ""},
		{"https://evil#https://localhost", "localhost", ""},
		{"HTTPS://localhost", "localhost", "same-origin"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, origin, host, site string) {
		r := &http.Request{Host: host, Header: http.Header{}}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		if sameOrigin(r) != nil {
			return
		}
		scheme, rest, _ := strings.Cut(origin, "://")
		if scheme != "https" || rest != host || site != "" && site != "same-origin" {
			t.Errorf("origin %q to host %q from site %q passes", origin, host, site)
		}
	})
}
