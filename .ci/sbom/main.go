// Command sbom writes what a program is made of, as a CycloneDX 1.6 document in JSON.
//
//	go run ./.ci/sbom -name borealis -version 1.2.3 -out FILE PROGRAM [PROGRAM-INSIDE-IT...]
//
// It asks the program itself: its Go version and modules, with the checksums that the Go
// toolchain wrote into it, so the document cannot disagree with what is published. The
// browser files of an engine come from static/vendor/VENDOR.txt (-vendor), and the agents
// that it carries are named with their hashes. With -notices it also writes the licences
// of all of them, word for word.
//
// The same program gives the same document: its time is SOURCE_DATE_EPOCH, and its serial
// number is made of the program's hash.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1) //nolint:forbidigo // This is main.
	}
}

// A request is what the command line asks for.
type request struct {
	name, version   string
	vendor, modules string   // VENDOR.txt, or empty; the folder of Go's module cache
	program         string   // the program
	inside          []string // programs that it carries
	at              time.Time
}

// run is main without the process around it.
func run(args []string) error {
	var r request
	f := flag.NewFlagSet("sbom", flag.ContinueOnError)
	f.StringVar(&r.name, "name", "borealis", "the `NAME` of the program")
	f.StringVar(&r.version, "version", "", "the `VERSION` of the program")
	f.StringVar(&r.vendor, "vendor", "", "`FILE` that lists the browser files inside")
	f.StringVar(&r.modules, "modules", moduleCache(), "`DIR` of Go's module cache, for the licences")
	out := f.String("out", "", "`FILE` to write the document to")
	notices := f.String("notices", "", "`FILE` to write the licences to")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 || r.version == "" || *out == "" {
		return fmt.Errorf("want -version VERSION -out FILE PROGRAM")
	}
	r.program, r.inside = f.Arg(0), f.Args()[1:]
	var err error
	if r.at, err = epoch(); err != nil {
		return err
	}
	doc, err := r.describe()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if err := write(*out, append(b, '\n')); err != nil || *notices == "" {
		return err
	}
	return r.writeNotices(*notices, doc)
}

// write makes a file that everybody may read, whatever the umask says.
func write(path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) //nolint:gosec // It is published.
}

// epoch is the time that the document bears.
func epoch() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// describe makes the document.
func (r request) describe() (*document, error) {
	sum, err := hashFile(r.program)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(r.program)
	if err != nil {
		return nil, err
	}
	main := component{
		Type: "application", Ref: "pkg:generic/" + r.name + "@" + r.version, Name: r.name, Version: r.version,
		Purl: "pkg:generic/" + r.name + "@" + r.version, Hashes: sum, Licences: licensed("Apache-2.0"),
		Properties: settings(info),
	}
	parts, err := r.goParts(info)
	if err != nil {
		return nil, err
	}
	if r.vendor != "" {
		more, err := vendored(r.vendor)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	for _, path := range r.inside {
		c, err := r.carried(path)
		if err != nil {
			return nil, err
		}
		parts = append(parts, c)
	}
	return newDocument(main, parts, r.at), nil
}

// carried is a program inside the program, with its own modules.
func (r request) carried(path string) (component, error) {
	name := filepath.Base(path)
	ref := "pkg:generic/" + name + "@" + r.version
	c := component{Type: "application", Ref: ref, Name: name, Version: r.version, Purl: ref, Licences: licensed("Apache-2.0")}
	var err error
	if c.Hashes, err = hashFile(path); err != nil {
		return c, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return c, err
	}
	c.Properties = settings(info)
	if c.Components, err = r.goParts(info); err != nil {
		return c, err
	}
	for i := range c.Components {
		c.Components[i].Ref = name + "#" + c.Components[i].Ref // a reference is unique in a document
	}
	return c, nil
}

// hashFile is the SHA-256 of a file.
func hashFile(path string) ([]hash, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, nil
}

// writeNotices puts the licences of all that is in the program in one file, each once.
func (r request) writeNotices(path string, doc *document) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "What %s %s is made of, and under which licences.\n", r.name, r.version)
	notice(&b, map[string]bool{}, doc.Components)
	return write(path, b.Bytes())
}

func notice(b *bytes.Buffer, done map[string]bool, parts []component) {
	for _, c := range parts {
		if c.text != "" && !done[c.Purl] {
			done[c.Purl] = true
			fmt.Fprintf(b, "\n%s\n%s %s\n\n%s\n", rule, c.Name, c.Version, c.text)
		}
		notice(b, done, c.Components)
	}
}

const rule = "--------------------------------------------------------------------------------"
