package audit

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzReadRecord: what is read as a record writes the same line again.
func FuzzReadRecord(f *testing.F) {
	for n := range 5 {
		line, err := encodeRecord(sample(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"SEQ":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := decodeRecord(line)
		if err != nil {
			return
		}
		again, err := encodeRecord(r)
		if err != nil || !bytes.Equal(line, again) {
			t.Errorf("%q was read, and is written as %q (%v)", line, again, err)
		}
		if bytes.ContainsRune(line, '\n') {
			t.Errorf("%q is more than one line", line)
		}
	})
}

// FuzzReadCheckpoint: what is read as a checkpoint writes the same line again.
func FuzzReadCheckpoint(f *testing.F) {
	a := newAuthority(f)
	line, err := encodeCheckpoint(sign(a.key, a.vouch, 100, sample(1).Digest([32]byte{}), noon))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"seq":1,"hash":"00","at":"2026-11-22T12:00:00Z","key":null,"vouch":"","signature":"AA=="}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := decodeCheckpoint(line)
		if err != nil {
			return
		}
		again, err := encodeCheckpoint(c)
		if err != nil || !bytes.Equal(line, again) {
			t.Errorf("%q was read, and is written as %q (%v)", line, again, err)
		}
	})
}

// FuzzSyslogMessage: whatever a record says, its message is one line of visible text
// that a receiver takes apart again.
func FuzzSyslogMessage(f *testing.F) {
	f.Add("nora", "tunnel_up", "FIN-LT-0142", "40 ms")
	f.Add(hostile, hostile, hostile, hostile)
	f.Add(strings.Repeat(`]"\`, 400), strings.Repeat("k", 99), strings.Repeat("ß", 900), strings.Repeat("\x00", 5000))
	f.Fuzz(func(t *testing.T, actor, kind, target, detail string) {
		r := sample(3)
		r.Actor, r.Kind, r.Target, r.Detail = actor, kind, target, detail
		m := recordMessage(r)
		checkMessage(t, m, m.String("engine.example"))
	})
}
