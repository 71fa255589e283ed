package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// settings are the settings of a build that change what the program does.
func settings(info *debug.BuildInfo) []property {
	props := []property{{"borealis:go:version", info.GoVersion}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "CGO_ENABLED", "-trimpath", "-tags", "GOAMD64", "GOARM64":
			props = append(props, property{"borealis:go:build:" + strings.TrimPrefix(s.Key, "-"), s.Value})
		}
	}
	return props
}

// goParts are Go's standard library and every module in a program.
func (r request) goParts(info *debug.BuildInfo) ([]component, error) {
	version := strings.TrimPrefix(info.GoVersion, "go")
	ref := "pkg:golang/stdlib@" + version
	std := component{
		Type: "library", Ref: ref, Name: "stdlib", Version: version, Purl: ref, Licences: licensed("BSD-3-Clause"),
		text: licenceIn(goRoot()),
	}
	parts := []component{std}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{
			Type: "library", Name: m.Path, Version: m.Version,
			Purl: "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"),
		}
		c.Ref = c.Purl
		var err error
		if c.Hashes, err = moduleHash(m); err != nil {
			return nil, err
		}
		c.Properties = []property{{"borealis:go:h1", m.Sum}}
		c.text = licenceIn(filepath.Join(r.modules, escape(m.Path)+"@"+escape(m.Version)))
		c.Licences = licensed(recognise(c.text))
		parts = append(parts, c)
	}
	return parts, nil
}

// moduleHash turns Go's "h1:" sum, which is a SHA-256 over the hashes of the module's
// files in base64, into the hexadecimal that CycloneDX wants.
func moduleHash(m *debug.Module) ([]hash, error) {
	text, ok := strings.CutPrefix(m.Sum, "h1:")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != 32 {
		return nil, fmt.Errorf("module %s %s has the sum %q, want h1: and a SHA-256", m.Path, m.Version, m.Sum)
	}
	return []hash{{"SHA-256", hex.EncodeToString(b)}}, nil
}

// escape spells a module path or version as Go's module cache does.
func escape(path string) string {
	var b strings.Builder
	for _, c := range path {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('!')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// vendored are the packages of browser files in a VENDOR.txt, and their files.
func vendored(list string) ([]component, error) {
	b, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	var parts []component
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 5 && words[0] == "package":
			c, err := npmPackage(words[1], words[2], words[3], words[4])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list, err)
			}
			c.text = read(filepath.Join(filepath.Dir(list), "LICENSES", strings.NewReplacer("@", "", "/", "-").Replace(c.Name)+".txt"))
			parts = append(parts, c)
		case len(words) == 4 && words[0] == "file" && len(parts) > 0:
			c := &parts[len(parts)-1]
			c.Components = append(c.Components, component{
				Type: "file", Ref: c.Ref + "#" + words[1], Name: words[1], Hashes: []hash{{"SHA-256", words[3]}},
			})
		case len(words) > 0 && !strings.HasPrefix(words[0], "#"):
			return nil, fmt.Errorf("%s: cannot read the line %q", list, lines.Text())
		}
	}
	return parts, lines.Err()
}

// npmPackage is a package of the npm registry, with the hash of its tarball.
func npmPackage(name, version, licenceID, integrity string) (component, error) {
	text, ok := strings.CutPrefix(integrity, "sha512-")
	sum, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return component{}, fmt.Errorf("package %s: %q is no SHA-512", name, integrity)
	}
	ref := "pkg:npm/" + strings.ReplaceAll(name, "@", "%40") + "@" + version
	return component{
		Type: "library", Ref: ref, Name: name, Version: version, Purl: ref,
		Licences: licensed(licenceID), Hashes: []hash{{"SHA-512", hex.EncodeToString(sum)}},
	}, nil
}
