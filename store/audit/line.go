package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"borealis/store"
)

// longestLine bounds a line that is read. The longest that is written has 9 texts of
// [store.MaxText] bytes and one of [store.MaxDetail], of which each byte may take six.
const longestLine = 64 << 10

// A recordLine is a record as a line of an export. All fields are always there.
type recordLine struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Session  string    `json:"session"`
	Source   string    `json:"source"`
	Kind     string    `json:"kind"`
	DeviceID string    `json:"device_id"`
	TunnelID string    `json:"tunnel_id"`
	Target   string    `json:"target"`
	Result   string    `json:"result"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Hash     digest    `json:"hash"`
}

// encodeRecord is a record as one line of JSON, without the line's end.
func encodeRecord(r store.Record) ([]byte, error) {
	return json.Marshal(recordLine{
		Seq: r.Seq, At: r.At.UTC(), Actor: r.Actor, Session: r.Session, Source: r.Source, Kind: r.Kind, DeviceID: r.DeviceID,
		TunnelID: r.TunnelID, Target: r.Target, Result: r.Result, Reason: r.Reason, Detail: r.Detail, Hash: digest(r.Hash),
	})
}

// decodeRecord reads what encodeRecord wrote, and nothing else.
func decodeRecord(line []byte) (store.Record, error) {
	var l recordLine
	if err := decode(line, &l); err != nil {
		return store.Record{}, err
	}
	return store.Record{
		Seq: l.Seq, At: l.At, Actor: l.Actor, Session: l.Session, Source: l.Source, Kind: l.Kind, DeviceID: l.DeviceID,
		TunnelID: l.TunnelID, Target: l.Target, Result: l.Result, Reason: l.Reason, Detail: l.Detail, Hash: l.Hash,
	}, nil
}

// decode reads a JSON text that is exactly what v would be written as. Whatever the
// decoder would forgive, such as an unknown field, one in capital letters or one that
// comes twice, would be a place where something can be changed unnoticed.
func decode(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return err
	}
	again, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(line, again) {
		return errors.New("it is not written as Borealis writes it")
	}
	return nil
}

// errCut is the end of a file in the middle of a line.
var errCut = errors.New("it ends in the middle of a line")

// lines reads a file line by line.
type lines struct {
	from   *bufio.Reader
	number int // of the line that was read last, from 1
}

func newLines(r io.Reader) *lines { return &lines{from: bufio.NewReaderSize(r, longestLine)} }

// next returns the next line without its end, valid until the next call; [io.EOF]
// when there is none and errCut when it is not complete.
func (l *lines) next() ([]byte, error) {
	line, err := l.from.ReadSlice('\n')
	l.number++
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, errCut
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("it has a line that is longer than %d bytes", longestLine)
	}
	return nil, err
}
