package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFigures counts what is there, and says when the last backup was.
func TestFigures(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	got, err := s.Figures(t.Context())
	if err != nil || got.Records != 0 || len(got.Devices) != 0 || !got.BackupAt.IsZero() || !got.SignedAt.IsZero() {
		t.Errorf("of an empty store: %+v, %v", got, err)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for i, kind := range []string{"backup_made", "x", "backup_made", "y"} {
		if err := s.AddRecord(t.Context(), Record{Kind: kind, At: at.Add(time.Duration(i) * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err = s.Figures(t.Context())
	want := Figures{Devices: map[string]int{}, Records: 4, BackupAt: at.Add(2 * time.Hour)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}
