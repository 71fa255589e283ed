package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"borealis/store"
)

// A Format is how records are written down.
type Format string

// The formats there are.
const (
	JSONLines Format = "jsonl" // a JSON object in each line; a whole trail can be verified
	CSV       Format = "csv"   // for spreadsheets
)

// Formats returns all formats.
func Formats() []Format { return []Format{JSONLines, CSV} }

// MediaType is the format's Content-Type.
func (f Format) MediaType() string {
	if f == CSV {
		return "text/csv; charset=utf-8; header=present"
	}
	return "application/jsonl; charset=utf-8"
}

// exportFormat names the first version of the lines that an export consists of.
const exportFormat = "borealis-audit-1"

// filteredNote stands in an export that is not whole.
const filteredNote = "this export is filtered and cannot be verified by itself"

// A header is the first line of an export of JSON lines.
type header struct {
	Format string `json:"format"`
	Engine string `json:"engine"`           // pin of the engine's identity; may be empty
	Filter string `json:"filter,omitempty"` // what chose the records; empty: all are there
	Note   string `json:"note,omitempty"`
	Last   int64  `json:"last"` // number of the trail's last record
	Hash   digest `json:"hash"` // of that record
}

// A Selection is which records to write down.
type Selection struct {
	Query  store.RecordQuery // Limit and Before are ignored
	Filter string            // says in an export what Query chooses; empty: it chooses all
	Engine string            // pin of the engine's identity; may be empty
}

// Export writes records to w, as many as there are when it begins, in little memory.
//
// JSON lines are a header and then one record in each line, oldest first. The header
// names the last record and its hash, so that [Verify] finds what happened to the file
// on its way. When the selection has a filter the records come newest first, and the
// header says that nobody can verify them by themselves. CSV is newest first always.
//
// The caller checks who may read what: Query's Scope is taken as it is.
func Export(ctx context.Context, db *store.Store, w io.Writer, f Format, s Selection) error {
	out := bufio.NewWriterSize(w, longestLine)
	var err error
	switch f {
	case CSV:
		err = exportCSV(ctx, db, out, s)
	case JSONLines:
		err = exportLines(ctx, db, out, s)
	default:
		err = fmt.Errorf("there is no format %q", f)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("export records: %w", err)
	}
	return nil
}

func exportLines(ctx context.Context, db *store.Store, out *bufio.Writer, s Selection) error {
	h := header{Format: exportFormat, Engine: s.Engine, Filter: s.Filter}
	if s.Filter != "" {
		h.Note = filteredNote
	}
	last, hash, err := db.Head(ctx)
	if err != nil {
		return err
	}
	h.Last, h.Hash = last, hash
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := writeLine(out, line); err != nil {
		return err
	}
	write := func(r store.Record) error {
		line, err := encodeRecord(r)
		if err != nil {
			return err
		}
		return writeLine(out, line)
	}
	if s.Filter != "" {
		return eachFound(ctx, db, s.Query, last, write)
	}
	err = db.EachRecord(ctx, math.MinInt64, func(r store.Record) error {
		if r.Seq > last {
			return errEnough
		}
		return write(r)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// eachFound calls fn with the records that a query finds, newest first from last on.
func eachFound(ctx context.Context, db *store.Store, q store.RecordQuery, last int64, fn func(store.Record) error) error {
	q.Before, q.Limit = last+1, store.MaxPage
	for {
		found, err := db.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range found {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(found) < q.Limit {
			return nil
		}
		q.Before = found[len(found)-1].Seq
	}
}

func writeLine(out *bufio.Writer, line []byte) error {
	if _, err := out.Write(line); err != nil {
		return err
	}
	return out.WriteByte('\n')
}

// ErrFiltered means that an export does not hold a whole trail.
var ErrFiltered = errors.New("the export is filtered: only a whole one can be verified")

// An ExportReader is an export of JSON lines, as a [Source]. It can be walked along
// once, from its beginning.
type ExportReader struct {
	header header
	lines  *lines
}

// ReadExport reads the header of an export. The error is [ErrFiltered] for one that
// is not whole.
func ReadExport(r io.Reader) (*ExportReader, error) {
	e := &ExportReader{lines: newLines(r)}
	line, err := e.lines.next()
	if err == nil {
		err = decode(line, &e.header)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read export: its first line is not the header of one: %w", err)
	case e.header.Format != exportFormat:
		return nil, fmt.Errorf("read export: it has the format %q, not %q", e.header.Format, exportFormat)
	case e.header.Filter != "" || e.header.Note != "":
		return nil, fmt.Errorf("read export: %w", ErrFiltered)
	}
	return e, nil
}

// Engine is the pin of the engine that the export says to be of; it may be empty.
func (e *ExportReader) Engine() string { return e.header.Engine }

// check compares the engine; nothing is known about an export that names none.
func (e *ExportReader) check(engine string) error {
	if engine != "" && e.header.Engine != engine {
		return fault(0, Foreign, "The export is of the engine %q, not of %q.", e.header.Engine, engine)
	}
	return nil
}

// EachRecord calls fn with every record after the one numbered after. It returns a
// [*Fault] for a line that is not what was written, and for an end that is not the one
// that the header names.
func (e *ExportReader) EachRecord(_ context.Context, after int64, fn func(store.Record) error) error {
	var seq int64
	var hash [32]byte
	for {
		line, err := e.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		var r store.Record
		if err == nil {
			r, err = decodeRecord(line)
		}
		if errors.Is(err, errCut) || err != nil && line != nil {
			return fault(seq+1, Unreadable, "Line %d, after record %d, cannot be read: %v. Somebody changed it, or it was damaged on its way.", e.lines.number, seq, err)
		}
		if err != nil {
			return err
		}
		if r.Seq > after {
			if err := fn(r); err != nil {
				return err
			}
		}
		seq, hash = r.Seq, r.Hash
	}
	if seq != e.header.Last || hash != e.header.Hash {
		return fault(seq+1, Truncated, "The export ends with record %d, but its header names record %d with the hash %s: lines are missing, or the header was changed.",
			seq, e.header.Last, e.header.Hash)
	}
	return nil
}
