// Package support writes what support needs to know of an engine into one file, without secrets.
package support

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"borealis/agent/checkup"
	"borealis/cmd/borealis/doctor"
	"borealis/cmd/hint"
)

const (
	maxLog     = 5 << 20 // bytes of each log, the newest
	maxRecords = 1000    // of the audit trail, the newest
)

// readme stands in the bundle, so that whoever sends it knows what it tells.
const readme = `This is a support bundle of a Borealis engine.

doctor.txt, .json   what "borealis doctor" found
about.json          versions of program, system and runtime
counts.json         how much of what there is, and the settings that are no secret
audit.jsonl         the newest %d records of the audit trail, without session ids
network.txt         Borealis' own rules, link and peers, without keys
logs/               the newest %d MiB of each log

It is made of this list and nothing else: no key, password, token, enrolment code or terminal
content is collected. What looks like one in spite of that is replaced by [removed]. It does
name operators, devices and addresses: give it to those only who may know them.
`

// A Log is a log that a bundle has besides the engine's own.
type Log struct {
	Name string // in the bundle
	Path string // where it is
}

// A Bundle is what support needs of an engine, and nothing that is secret.
type Bundle struct {
	Doctor doctor.Config // which engine
	Logs   []Log
}

// Write makes the bundle at a path where nothing is yet, for its owner alone. Nothing is left of one that could not be finished.
func (b *Bundle) Write(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return &hint.Error{Err: fmt.Errorf("%s is there already, and is not overwritten", path), Hint: "name another file, or move that one away"}
	} else if err != nil {
		return fmt.Errorf("make the support bundle: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("make the support bundle: %w", err), os.Remove(path))
		}
	}()
	z := zip.NewWriter(f)
	if err := b.fill(ctx, z); err != nil {
		return err
	}
	return z.Close()
}

// fill adds all parts. What cannot be had stands in the bundle as a sentence that says why.
func (b *Bundle) fill(ctx context.Context, z *zip.Writer) error {
	report := doctor.Examine(ctx, b.Doctor)
	db := database{root: b.Doctor.Root, readable: report.Readable}
	var text bytes.Buffer
	if err := checkup.Write(&text, report.Checks); err != nil {
		return err
	}
	parts := []struct {
		name string
		made func(context.Context) ([]byte, error)
	}{
		{"README.txt", func(context.Context) ([]byte, error) {
			return fmt.Appendf(nil, readme, maxRecords, maxLog>>20), nil
		}},
		{"doctor.txt", func(context.Context) ([]byte, error) { return text.Bytes(), nil }},
		{"doctor.json", func(context.Context) ([]byte, error) { return json.MarshalIndent(report, "", "  ") }},
		{"about.json", aboutProgram},
		{"counts.json", db.counts},
		{"audit.jsonl", db.records},
		{"network.txt", ourNetwork},
		{"logs/engine.log", func(context.Context) ([]byte, error) { return newestLines(b.Doctor.Root.Log(), maxLog) }},
	}
	for _, l := range b.Logs {
		parts = append(parts, struct {
			name string
			made func(context.Context) ([]byte, error)
		}{"logs/" + l.Name, func(context.Context) ([]byte, error) { return newestLines(l.Path, maxLog) }})
	}
	for _, part := range parts {
		text, err := part.made(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			text = fmt.Appendf(text, "\nnot to be had: %v\n", err)
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: part.name, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return err
		}
		if _, err := w.Write(checkup.Scrub(text)); err != nil {
			return err
		}
	}
	return nil
}

// newestLines returns whole lines from the end of a log and of the older files beside it,
// oldest first, as many as fit.
func newestLines(path string, limit int64) ([]byte, error) {
	newest, err := tail(path, limit)
	if err != nil {
		return nil, err
	}
	all := [][]byte{newest}
	for n := 1; ; n++ {
		limit -= int64(len(all[n-1]))
		older, err := tail(fmt.Sprintf("%s.%d", path, n), limit)
		if err != nil || len(older) == 0 {
			slices.Reverse(all)
			return bytes.Join(all, nil), nil
		}
		all = append(all, older)
	}
}

// tail returns whole lines from the end of a file, as many as fit.
func tail(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	from := max(0, size-max(0, limit))
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, size-from))
	if from > 0 { // half a line may be half a secret
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return b, err
}
