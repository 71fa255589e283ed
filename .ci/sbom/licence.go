package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleCache and goRoot are where Go keeps modules and itself; empty when Go does not say.
func moduleCache() string { return goEnv("GOMODCACHE") }
func goRoot() string      { return goEnv("GOROOT") }

func goEnv(name string) string {
	out, err := exec.Command("go", "env", name).Output() //nolint:gosec,noctx // A short command with a fixed argument.
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// licenceIn is the text of the licence in a folder, empty when there is none.
func licenceIn(dir string) string {
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.md", "COPYING", "License", "license"} {
		if text := read(filepath.Join(dir, name)); text != "" {
			return text
		}
	}
	return ""
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// recognise names a licence by words that only it has; empty when none fits. It is
// meant for whole licence texts of Go modules, which are few and alike.
func recognise(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, l := range []struct{ id, words string }{
		{"Apache-2.0", "apache license version 2.0, january 2004"},
		{"MPL-2.0", "mozilla public license version 2.0"},
		{"MPL-2.0", "mozilla public license, version 2.0"},
		{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
		{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
		{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy of"},
		{"CC0-1.0", "cc0 1.0 universal"},
	} {
		if strings.Contains(text, l.words) {
			return l.id
		}
	}
	if !strings.Contains(text, "redistribution and use in source and binary forms") {
		return ""
	}
	if strings.Contains(text, "endorse or promote products") {
		return "BSD-3-Clause"
	}
	return "BSD-2-Clause"
}
