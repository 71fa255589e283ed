package store

import (
	"testing"

	"zombiezen.com/go/sqlite"
)

func TestFatal(t *testing.T) {
	t.Parallel()
	for code, want := range map[sqlite.ResultCode]bool{
		sqlite.ResultIOErrFsync: true, sqlite.ResultIOErrWrite: true, sqlite.ResultIOErrRead: true, sqlite.ResultIOErr: true,
		sqlite.ResultCorrupt: true, sqlite.ResultNotADB: true,
		sqlite.ResultIOErrSHMSize: false, sqlite.ResultFull: false, sqlite.ResultBusy: false, sqlite.ResultBusySnapshot: false,
		sqlite.ResultConstraint: false, sqlite.ResultInterrupt: false, sqlite.ResultReadOnly: false, sqlite.ResultOK: false,
	} {
		if got := fatal(code.ToError()); got != want {
			t.Errorf("%v: %v, want %v", code, got, want)
		}
	}
	if fatal(nil) || fatal(ErrNotFound) {
		t.Error("what is no answer of SQLite is fatal")
	}
}

// TestDamageFoundByAWriteIsFinal: a store does not write on into a file that is not sound.
func TestDamageFoundByAWriteIsFinal(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	before := checkChain(t, s)
	if err := s.suspect(sqlite.ResultCorrupt.ToError()); err == nil || s.Err() == nil {
		t.Fatalf("%v; the store says %v", err, s.Err())
	}
	<-s.Failed()
	if err := s.SetSetting(t.Context(), "key", "value"); err == nil {
		t.Error("it was written to")
	}
	if after := checkChain(t, s); after != before {
		t.Errorf("%d records, then %d", before, after)
	}
}
