// Package static holds the files that the console serves to browsers.
package static

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// embedded is everything in the tree; [served] says which of it browsers get.
//
//go:embed *.css *.js *.svg vendor
var embedded embed.FS

// prefix is where [Handler] is mounted.
const prefix = "/_s/"

// A tree is all served files under one hash of their content. One hash for all
// of them means that files may name each other by relative paths, in CSS and in
// imports, and still be cached for good.
type tree struct {
	hash  string
	files map[string]*file
}

// loaded is the one tree of this program, read when it is first needed.
var loaded = sync.OnceValue(load)

func load() *tree {
	t := &tree{files: make(map[string]*file)}
	sum := sha256.New()
	err := fs.WalkDir(embedded, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !served(name) {
			return err
		}
		body, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s\x00%d\x00", name, len(body))
		sum.Write(body)
		t.files[name] = &file{body: body, kind: contentType(name)}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("static: reading embedded files: %v", err)) // impossible: they are in the program
	}
	t.hash = hex.EncodeToString(sum.Sum(nil))[:12]
	for name, f := range t.files {
		f.etag = `W/"` + t.hash + "-" + path.Base(name) + `"`
	}
	return t
}

// served tells the files that browsers may have from the ones that only lie
// beside them.
func served(name string) bool {
	return contentType(name) != "" && !strings.HasPrefix(name, "vendor/lucide/")
}

// contentType is the MIME type of a file by its name; "" = not served.
// The operating system's table is not asked: it differs and lacks .mjs.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	}
	return ""
}

// Path is the URL path of a served file, such as "app.css" or
// "vendor/htmx.min.js". It changes whenever any served file changes. Path
// panics when there is no such file.
func Path(name string) string {
	t := loaded()
	if _, ok := t.files[name]; !ok {
		panic("static: no file " + name)
	}
	return prefix + t.hash + "/" + name
}

// Icon is the inner markup of an icon on a 24×24 grid, drawn with strokes.
// It panics when there is no such icon.
func Icon(name string) string {
	body, err := embedded.ReadFile("vendor/lucide/" + name + ".svg")
	if err != nil {
		panic("static: no icon " + name)
	}
	_, inner, _ := strings.Cut(string(body), "<svg")
	_, inner, _ = strings.Cut(inner, ">")
	inner, _, _ = strings.Cut(inner, "</svg>")
	return strings.Join(strings.Fields(inner), " ")
}
