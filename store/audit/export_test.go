package audit

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"borealis/store"

	"github.com/google/go-cmp/cmp"
)

// everything is all that somebody may see who may see all.
var everything = store.RecordQuery{Scope: store.Scope{All: true}}

// export writes a store's records down.
func export(t testing.TB, db *store.Store, f Format, s Selection) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Export(t.Context(), db, &out, f, s); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// check verifies an export.
func check(t testing.TB, data []byte, o Options) (Report, error) {
	t.Helper()
	source, err := ReadExport(bytes.NewReader(data))
	if err != nil {
		return Report{}, err
	}
	return Verify(t.Context(), source, o)
}

// An export holds every field of every record, whatever is in it, and proves itself
// with nothing but the checkpoint file.
func TestExportIsVerifiedOffline(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	a := newAuthority(t)
	add(t, db, 1, 25)
	signNow(t, a.signer(t, db, dir))
	add(t, db, 26, 30)
	data := export(t, db, JSONLines, Selection{Query: everything, Engine: "pin"})
	checkpoints, err := readCheckpointFile(filepath.Join(dir, "checkpoints.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Checkpoints: checkpoints, Vouched: a.vouched, Engine: "pin"}
	report, err := check(t, data, o)
	if err != nil || !report.OK() || report.Records != 30 || report.Checkpoints != 1 || report.Uncovered != 5 {
		t.Errorf("%+v, %v", report, err)
	}
	source, err := ReadExport(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := batch(t.Context(), source, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	want, err := batch(t.Context(), db, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 30 {
		t.Errorf("%d records (-want +got)\n%s", len(got), diff)
	}

	if report, err := check(t, data, Options{Engine: "another"}); err != nil || report.Fault == nil || report.Fault.What != Foreign {
		t.Errorf("an export of another engine: %+v, %v", report, err)
	}
	shorter := data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1]
	if report, err := check(t, shorter, o); err != nil || report.Fault == nil || report.Fault.What != Truncated {
		t.Errorf("without the last line: %+v, %v", report, err)
	}
	if report, err := check(t, data[:len(data)-3], o); err != nil || report.Fault == nil || report.Fault.What != Unreadable {
		t.Errorf("without the last bytes: %+v, %v", report, err)
	}
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	empty := strings.Replace(string(head), `"last":30`, `"last":25`, 1) + "\n" + string(rest)
	if report, err := check(t, []byte(empty), o); err != nil || report.OK() {
		t.Errorf("with another header: %+v, %v", report, err)
	}
}

// An export of nothing is whole, too.
func TestExportOfNothing(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	report, err := check(t, export(t, db, JSONLines, Selection{Query: everything}), Options{})
	if err != nil || !report.OK() || report.Records != 0 || report.String() != "There are no records." {
		t.Errorf("%+v, %v, %s", report, err, report)
	}
}

// Every change of a single byte of an export is found: each byte is changed to another
// one, chosen at random, and lines are left out, doubled and swapped.
func TestEveryChangeOfAnExportIsFound(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	add(t, db, 1, 10)
	whole := export(t, db, JSONLines, Selection{Query: everything, Engine: "pin"})
	found := func(data []byte) bool {
		report, err := check(t, data, Options{Engine: "pin"})
		return err != nil || !report.OK()
	}
	if found(whole) {
		t.Fatal("the export is not right as it is")
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range whole {
		data := bytes.Clone(whole)
		data[i] += byte(1 + random.IntN(255))
		if !found(data) {
			t.Errorf("seed %d: byte %d was changed from %q to %q", seed, i, whole[i], data[i])
		}
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		for name, data := range map[string][][]byte{
			"left out": slices.Concat(lines[:i], lines[i+1:]),
			"doubled":  slices.Concat(lines[:i+1], lines[i:]),
			"swapped":  slices.Concat(lines[:i], lines[min(i+1, len(lines)-1):min(i+2, len(lines))], lines[i:i+1], lines[min(i+2, len(lines)):]),
		} {
			if joined := bytes.Join(data, nil); !bytes.Equal(joined, whole) && !found(joined) {
				t.Errorf("line %d %s", i+1, name)
			}
		}
	}
}

// A filtered export says what it is, and nobody can take it for a whole one.
func TestFilteredExport(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	add(t, db, 1, 25)
	q := everything
	q.Kind = "agent_online"
	data := export(t, db, JSONLines, Selection{Query: q, Filter: "kind=agent_online", Engine: "pin"})
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != 6 || !strings.Contains(lines[0], `"filter":"kind=agent_online","note":"this export is filtered and cannot be verified by itself"`) {
		t.Fatalf("%d lines; the first is %s", len(lines), lines[0])
	}
	var last int64 = 1 << 40
	for _, line := range lines[1:] {
		r, err := decodeRecord([]byte(line))
		if err != nil || r.Kind != "agent_online" || r.Seq >= last {
			t.Errorf("%+v, %v after number %d", r, err, last)
		}
		last = r.Seq
	}
	if _, err := check(t, data, Options{}); !errors.Is(err, ErrFiltered) {
		t.Errorf("verifying it: %v", err)
	}
}

// A CSV file is one that RFC 4180 describes, with every record in it, and no cell of
// it is a formula, whatever a record says.
func TestCSVExport(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	add(t, db, 1, store.MaxPage/50)
	for _, cell := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a \"quoted\", text\r\nwith lines", "'already"} {
		if err := db.AddRecord(t.Context(), store.Record{Kind: "k", Actor: cell, Target: cell, Detail: cell}); err != nil {
			t.Fatal(err)
		}
	}
	data := export(t, db, CSV, Selection{Query: everything})
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(columns, rows[0]); diff != "" || len(rows) != 1+store.MaxPage/50+8 {
		t.Errorf("%d rows; columns (-want +got)\n%s", len(rows), diff)
	}
	for i, row := range rows[1:] {
		if row[0] != strconv.Itoa(len(rows)-1-i) {
			t.Errorf("row %d has number %s", i+1, row[0])
		}
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("the cell %q is a formula", cell)
			}
		}
	}
	if newest := rows[1]; newest[12] != "'already" || rows[2][12] != "a \"quoted\", text\nwith lines" || rows[8][12] != "'=1+1" {
		t.Errorf("cells %q, %q, %q", newest[12], rows[2][12], rows[8][12])
	}
	if n := bytes.Count(data, []byte("\r\n")); n < len(rows) {
		t.Errorf("%d lines end as RFC 4180 wants, of %d", n, len(rows))
	}
}

// More records than are read at a time come out whole and once, in both formats.
func TestLongExport(t *testing.T) {
	t.Parallel()
	path := fillMany(t, 2*store.MaxPage+17)
	db := openStore(t, path)
	report, err := check(t, export(t, db, JSONLines, Selection{Query: everything}), Options{})
	if err != nil || !report.OK() || report.Records != 2*store.MaxPage+17 {
		t.Errorf("%s, %v", report, err)
	}
	rows, err := csv.NewReader(bytes.NewReader(export(t, db, CSV, Selection{Query: everything}))).ReadAll()
	if err != nil || len(rows) != 1+2*store.MaxPage+17 || rows[1][0] != strconv.Itoa(2*store.MaxPage+17) || rows[len(rows)-1][0] != "1" {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	if err := Export(t.Context(), db, new(bytes.Buffer), "xml", Selection{Query: everything}); err == nil {
		t.Error("there is no such format")
	}
}
