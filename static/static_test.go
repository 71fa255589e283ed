package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
)

// get asks the handler for a path; header holds pairs of names and values.
func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHandlerHeaders(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{
		"app.css":              "text/css; charset=utf-8",
		"app.js":               "text/javascript; charset=utf-8",
		"vendor/xterm.mjs":     "text/javascript; charset=utf-8",
		"vendor/inter.woff2":   "font/woff2",
		"favicon.svg":          "image/svg+xml",
		"vendor/htmx.min.js":   "text/javascript; charset=utf-8",
		"vendor/addon-fit.mjs": "text/javascript; charset=utf-8",
	} {
		r := get(t, http.MethodGet, Path(name))
		got := map[string]string{"status": r.Status}
		for _, h := range []string{"Content-Type", "Cache-Control", "Vary", "X-Content-Type-Options", "Cross-Origin-Resource-Policy", "Content-Encoding"} {
			got[h] = r.Header.Get(h)
		}
		want := map[string]string{
			"status":                       "200 OK",
			"Content-Type":                 kind,
			"Cache-Control":                "public, max-age=31536000, immutable",
			"Vary":                         "Accept-Encoding",
			"X-Content-Type-Options":       "nosniff",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Content-Encoding":             "",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		stored, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(body(t, r.Body), stored) {
			t.Errorf("%s: the body is not the file", name)
		}
	}
}

func TestHandlerEncodings(t *testing.T) {
	t.Parallel()
	stored, err := os.ReadFile("vendor/xterm.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ accept, want string }{
		{"", ""},
		{"br", "br"},
		{"gzip, deflate, br, zstd", "br"},
		{"gzip, deflate", "gzip"},
		{"GZIP", "gzip"},
		{"br;q=0, gzip;q=0.5", "gzip"},
		{"br; q=0.1", "br"},
		{"br;q=nonsense", ""},
		{"identity", ""},
		{"brotli", ""},
	} {
		r := get(t, http.MethodGet, Path("vendor/xterm.mjs"), "Accept-Encoding", tc.accept)
		if got := r.Header.Get("Content-Encoding"); got != tc.want {
			t.Errorf("Accept-Encoding %q: encoding %q, want %q", tc.accept, got, tc.want)
			continue
		}
		plain := body(t, r.Body)
		switch tc.want {
		case "br":
			plain = body(t, brotli.NewReader(bytes.NewReader(plain)))
		case "gzip":
			z, err := gzip.NewReader(bytes.NewReader(plain))
			if err != nil {
				t.Fatal(err)
			}
			plain = body(t, z)
		}
		if !bytes.Equal(plain, stored) {
			t.Errorf("Accept-Encoding %q: the body is not the file", tc.accept)
		}
	}
	r := get(t, http.MethodGet, Path("vendor/inter.woff2"), "Accept-Encoding", "br")
	if got := r.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("a font, which is compressed already, has encoding %q", got)
	}
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	good := Path("app.css")
	for _, tc := range []struct {
		method, target string
		want           int
	}{
		{http.MethodGet, "/_s/000000000000/app.css", http.StatusNotFound},
		{http.MethodGet, "/_s/app.css", http.StatusNotFound},
		{http.MethodGet, "/_s/", http.StatusNotFound},
		{http.MethodGet, path.Dir(good) + "/static.go", http.StatusNotFound},
		{http.MethodGet, path.Dir(good) + "/vendor/VENDOR.txt", http.StatusNotFound},
		{http.MethodGet, path.Dir(good) + "/vendor/lucide/plug.svg", http.StatusNotFound},
		{http.MethodGet, path.Dir(good) + "/vendor/../app.css", http.StatusNotFound},
		{http.MethodPost, good, http.StatusMethodNotAllowed},
	} {
		r := get(t, tc.method, tc.target)
		if r.StatusCode != tc.want {
			t.Errorf("%s %s: status %d, want %d", tc.method, tc.target, r.StatusCode, tc.want)
		}
		if cache := r.Header.Get("Cache-Control"); strings.Contains(cache, "immutable") {
			t.Errorf("%s %s: a refusal may be kept: %q", tc.method, tc.target, cache)
		}
	}
}

func TestHandlerRevalidates(t *testing.T) {
	t.Parallel()
	etag := get(t, http.MethodGet, Path("app.js")).Header.Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	r := get(t, http.MethodGet, Path("app.js"), "If-None-Match", etag)
	if r.StatusCode != http.StatusNotModified || len(body(t, r.Body)) != 0 {
		t.Errorf("with its ETag: status %d, want 304 without a body", r.StatusCode)
	}
	if other := get(t, http.MethodGet, Path("ui.js")).Header.Get("ETag"); other == etag {
		t.Errorf("two files share the ETag %s", etag)
	}
}

func TestHandlerHead(t *testing.T) {
	t.Parallel()
	r := get(t, http.MethodHead, Path("app.css"))
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Length") == "0" || len(body(t, r.Body)) != 0 {
		t.Errorf("HEAD: status %d, length %s, want 200 with a length and no body", r.StatusCode, r.Header.Get("Content-Length"))
	}
}

// Many first page views at once share one compression, and the race detector
// sees it.
func TestHandlerConcurrent(t *testing.T) {
	t.Parallel()
	var want []byte
	var once sync.Once
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			r := get(t, http.MethodGet, Path("pages.css"), "Accept-Encoding", "br")
			got := body(t, r.Body)
			once.Do(func() { want = got })
		})
	}
	group.Wait()
	if got := body(t, get(t, http.MethodGet, Path("pages.css"), "Accept-Encoding", "br").Body); !bytes.Equal(got, want) {
		t.Error("the compressed file differs between two requests")
	}
}

func TestPathAndIconPanicOnUnknownNames(t *testing.T) {
	t.Parallel()
	for what, call := range map[string]func() string{
		"a file that is not there": func() string { return Path("nothing.js") },
		"a file that is not served": func() string {
			return Path("vendor/VENDOR.txt")
		},
		"an icon that is not there": func() string { return Icon("nothing") },
		"an icon outside":           func() string { return Icon("../../favicon") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			call()
		}()
	}
	if got, want := Icon("plus"), `<path d="M5 12h14" /> <path d="M12 5v14" />`; got != want {
		t.Errorf("Icon(check) = %s, want %s", got, want)
	}
}

var (
	cssURL   = regexp.MustCompile(`url\(([^)]+)\)`)
	jsImport = regexp.MustCompile(`(?m)^import (?:.* from )?"([^"]+)";`)
)

// What the style sheets and scripts name lies in the tree, where a browser finds
// it by its relative path.
func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, f := range loaded().files {
		var found [][][]byte
		switch {
		case strings.HasPrefix(name, "vendor/"):
			continue
		case strings.HasSuffix(name, ".css"):
			found = cssURL.FindAllSubmatch(f.body, -1)
		case strings.HasSuffix(name, ".js"):
			found = jsImport.FindAllSubmatch(f.body, -1)
		}
		for _, m := range found {
			seen++
			target := path.Join(path.Dir(name), string(m[1]))
			if _, ok := loaded().files[target]; !ok {
				t.Errorf("%s names %s, which is not served", name, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d references were found: the patterns do not match any more", seen)
	}
}

// The content security policy allows no inline style and no eval; what would
// need them is easier found here than in a browser.
func TestOwnScripts(t *testing.T) {
	t.Parallel()
	const longest = 400
	for name, f := range loaded().files {
		if strings.HasPrefix(name, "vendor/") || !strings.HasSuffix(name, ".js") {
			continue
		}
		if lines := bytes.Count(f.body, []byte("\n")); lines >= longest {
			t.Errorf("%s has %d lines, %d are too many", name, lines, longest)
		}
		for _, bad := range []string{"eval(", "new Function", "insertAdjacentHTML", "document.write", "onclick ="} {
			if bytes.Contains(f.body, []byte(bad)) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}
