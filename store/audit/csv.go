package audit

import (
	"bufio"
	"context"
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"borealis/store"
)

// columns are the first line of a CSV file.
var columns = []string{
	"seq", "at", "actor", "session", "source", "kind", "device_id", "hostname", "tunnel_id", "target", "result", "reason", "detail", "hash",
}

// exportCSV writes records as RFC 4180 describes it, newest first.
func exportCSV(ctx context.Context, db *store.Store, out *bufio.Writer, s Selection) error {
	last, _, err := db.Head(ctx)
	if err != nil {
		return err
	}
	w := csv.NewWriter(out)
	w.UseCRLF = true
	if err := w.Write(columns); err != nil {
		return err
	}
	err = eachFound(ctx, db, s.Query, last, func(r store.Record) error {
		cells := []string{
			strconv.FormatInt(r.Seq, 10), r.At.UTC().Format(time.RFC3339Nano), r.Actor, r.Session, r.Source, r.Kind, r.DeviceID, r.Hostname,
			r.TunnelID, r.Target, r.Result, r.Reason, r.Detail, digest(r.Hash).String(),
		}
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		return w.Write(cells)
	})
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	return err
}

// harmless is a cell that no spreadsheet takes for a formula: a ' in front keeps it a
// text. https://owasp.org/www-community/attacks/CSV_Injection
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
