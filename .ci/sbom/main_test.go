package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// describeSelf writes the documents of this very test's program, and reads one back.
func describeSelf(t *testing.T, args ...string) (path string, doc document) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1760000000")
	path = filepath.Join(t.TempDir(), "sbom.json")
	if err := run(append([]string{"-version", "1.2.3", "-out", path}, args...)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return path, doc
}

// program builds one with a few modules in it.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "release")
	if out, err := exec.Command("go", "build", "-o", path, "../release").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestRequired checks what CycloneDX 1.6 requires of a document, field by field.
func TestRequired(t *testing.T) {
	self := program(t)
	_, doc := describeSelf(t, "-vendor", "../../static/vendor/VENDOR.txt", self, self)
	if doc.Format != "CycloneDX" || doc.Spec != "1.6" || doc.Version != 1 {
		t.Errorf("format %q, specification %q, version %d", doc.Format, doc.Spec, doc.Version)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.Serial) {
		t.Errorf("serial number %q", doc.Serial)
	}
	if doc.Metadata.Time != "2025-10-09T08:53:20Z" {
		t.Errorf("time %q, want that of SOURCE_DATE_EPOCH", doc.Metadata.Time)
	}
	refs := map[string]bool{}
	requireComponent(t, refs, doc.Metadata.Component)
	for _, c := range doc.Components {
		requireComponent(t, refs, c)
	}
	for _, d := range doc.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("a dependency names %q, which is no component", ref)
			}
		}
	}
	if len(doc.Dependencies) != 1 || len(doc.Dependencies[0].DependsOn) != len(doc.Components) {
		t.Errorf("%d dependencies for %d components", len(doc.Dependencies), len(doc.Components))
	}
}

// requireComponent checks one component and those inside it, and notes their references.
func requireComponent(t *testing.T, refs map[string]bool, c component) {
	t.Helper()
	if c.Type != "library" && c.Type != "application" && c.Type != "file" || c.Name == "" || c.Ref == "" {
		t.Errorf("component %+v lacks what is required", c)
	}
	if refs[c.Ref] {
		t.Errorf("two components are called %q", c.Ref)
	}
	refs[c.Ref] = true
	length := map[string]int{"SHA-256": 64, "SHA-512": 128}
	for _, h := range c.Hashes {
		if len(h.Content) != length[h.Algorithm] || strings.Trim(h.Content, "0123456789abcdef") != "" {
			t.Errorf("%s: hash %+v", c.Name, h)
		}
	}
	if c.Type != "file" && c.Name != "stdlib" && len(c.Hashes) == 0 {
		t.Errorf("%s has no hash", c.Name)
	}
	for _, inside := range c.Components {
		requireComponent(t, refs, inside)
	}
}

// TestModules compares the document with what "go version -m" says of the program.
func TestModules(t *testing.T) {
	self := program(t)
	_, doc := describeSelf(t, self, self)
	inside := doc.Components[len(doc.Components)-1]
	doc.Components = doc.Components[:len(doc.Components)-1]
	if len(inside.Components) != len(doc.Components) {
		t.Errorf("the program inside has %d parts, want %d", len(inside.Components), len(doc.Components))
	}
	out, err := exec.Command("go", "version", "-m", self).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "dep" {
			want[f[1]+" "+f[2]] = f[3]
		}
	}
	for _, c := range doc.Components {
		if c.Name == "stdlib" {
			if !strings.Contains(string(out), "go"+c.Version) {
				t.Errorf("stdlib %s, want that of\n%s", c.Version, out)
			}
			continue
		}
		if key := c.Name + " " + c.Version; want[key] != c.Properties[0].Value || want[key] == "" {
			t.Errorf("%s has the sum %q, want %q", key, c.Properties[0].Value, want[key])
		} else {
			delete(want, key)
		}
		if len(c.Licences) != 1 {
			t.Errorf("the licence of %s is not known", c.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("modules that are missing: %v", want)
	}
}

func TestSame(t *testing.T) {
	self := program(t)
	first, _ := describeSelf(t, self)
	second, _ := describeSelf(t, self)
	a, _ := os.ReadFile(first)
	b, _ := os.ReadFile(second)
	if string(a) != string(b) || len(a) == 0 {
		t.Error("two documents of the same program differ")
	}
}

func TestVendored(t *testing.T) {
	_, doc := describeSelf(t, "-vendor", "../../static/vendor/VENDOR.txt", program(t))
	for _, c := range doc.Components {
		if c.Name != "@xterm/xterm" {
			continue
		}
		if c.Purl != "pkg:npm/%40xterm/xterm@"+c.Version || c.Licences[0].Licence.ID != "MIT" || len(c.Components) != 2 {
			t.Errorf("xterm.js: %+v", c)
		}
		return
	}
	t.Error("xterm.js is not in the document")
}

func TestVendoredRefuses(t *testing.T) {
	for _, line := range []string{"package a 1 MIT md5-x", "file a b c", "nonsense"} {
		list := filepath.Join(t.TempDir(), "VENDOR.txt")
		if err := os.WriteFile(list, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := vendored(list); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
}

func TestNotices(t *testing.T) {
	notices := filepath.Join(t.TempDir(), "notices")
	describeSelf(t, "-notices", notices, "-vendor", "../../static/vendor/VENDOR.txt", program(t))
	text := read(notices)
	for _, want := range []string{"stdlib", "Copyright 2009 The Go Authors", "@xterm/xterm", "The xterm.js authors"} {
		if !strings.Contains(text, want) {
			t.Errorf("the notices lack %q", want)
		}
	}
}

func TestRecognise(t *testing.T) {
	for want, text := range map[string]string{
		"MIT":          "Permission is hereby granted, free of charge,\nto any person obtaining a copy of this",
		"BSD-2-Clause": "Redistribution and use in source and binary forms, with or without",
		"BSD-3-Clause": "Redistribution and use in source and binary forms … used to endorse or promote products derived",
		"Apache-2.0":   "Apache License\n   Version 2.0, January 2004",
		"":             "All rights reserved.",
	} {
		if got := recognise(text); got != want {
			t.Errorf("recognise(%q) = %q, want %q", text, got, want)
		}
	}
}
