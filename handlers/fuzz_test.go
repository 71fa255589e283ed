package handlers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"borealis/store"
)

// FuzzLocalPath: wherever signing in leads to, it is on this host.
func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/devices", "//evil", "/\\evil", "https://evil", "/a?b#c", "/%2f%2fevil", "/\x00", "/.//evil"} {
		f.Add(seed)
	}
	base := &url.URL{Scheme: "https", Host: "engine.example", Path: "/login"}
	f.Fuzz(func(t *testing.T, next string) {
		to, err := base.Parse(localPath(next))
		if err != nil || to.Host != base.Host || to.Scheme != "https" || to.User != nil {
			t.Errorf("%q leads to %v %v", next, to, err)
		}
	})
}

// FuzzRequestHost: what a Host header is taken for is what a browser would call it.
func FuzzRequestHost(f *testing.F) {
	for _, seed := range []string{"localhost", "localhost:8443", "[::1]:1", "127.0.0.1", "a:b:c", "[", "localhost:", "LOCALHOST"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if requestHost(&http.Request{Host: host}) != "localhost" {
			return
		}
		u, err := url.Parse("https://" + host)
		if err != nil || !strings.EqualFold(u.Hostname(), "localhost") {
			t.Errorf("%q passes as localhost", host)
		}
	})
}

// FuzzDecode: what is accepted is one JSON object that says nothing but what was read.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"device_id":"x"}`, `{"device_id":"x","new":true}`, `{}`, `null`, `{"a":1}`, `{"device_id":"a","device_id":"b"}`, `{"device_id":"x"} 1`, `{"device_id":{"a":[]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var q connectRequest
		if err := decodeBody(body, &q); err != nil {
			if p := problemOf(err); p.Status < 400 || p.Status >= 500 || !utf8.ValidString(p.Detail) {
				t.Errorf("%q: %+v", body, p)
			}
			return
		}
		var all map[string]any
		if err := json.Unmarshal(body, &all); err != nil || all == nil {
			t.Fatalf("%q was accepted: %v", body, err)
		}
		for name := range all {
			if !strings.EqualFold(name, "device_id") && !strings.EqualFold(name, "new") {
				t.Errorf("%q has the field %q", body, name)
			}
		}
	})
}

// FuzzTerminalMessages: whatever a page sends is understood or refused.
func FuzzTerminalMessages(f *testing.F) {
	for _, seed := range []string{`{"type":"ack","offset":1}`, `{"type":"ping","t":1e999}`, `{"type":"resize","cols":1,"rows":1,"person":true}`, `{"type":1}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		k := &terminalSocket{orders: make(chan order, 1)}
		var said terminalOrder
		if readTerminal(body, &said) == nil && said.Type == "ping" {
			return // answered on the socket
		}
		_, err := k.obey(t.Context(), body)
		if p := partingOf(err); err != nil && (p == nil || len(p.reason) > 123) {
			t.Errorf("%q ends with %+v", body, p)
		}
	})
}

// FuzzTab: whatever a page calls its tab, it speaks for its own session and nobody else's.
func FuzzTab(f *testing.F) {
	for _, seed := range []string{"", "t1", "../t1", "other/t1", strings.Repeat("a", 64), strings.Repeat("a", 65), "t1\n", "tä", "\xff"} {
		f.Add(seed)
	}
	mine, other := principal{session: store.Session{ID: "mine"}}, principal{session: store.Session{ID: "mine/t"}}
	f.Fuzz(func(t *testing.T, id string) {
		tab := mine.tab(id)
		if tab == "" {
			return
		}
		if rest, ok := strings.CutPrefix(tab, "mine/"); !ok || rest != id || strings.ContainsAny(id, "/ \n\x00") || len(id) > 64 {
			t.Errorf("%q becomes %q", id, tab)
		}
		if tab == other.tab(id) || (principal{}).tab(id) != "" {
			t.Errorf("%q is somebody else's tab too", id)
		}
	})
}
