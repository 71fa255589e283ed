//go:build winetest

package wg

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FakeAdapter is an adapter of a fake.
type FakeAdapter struct {
	*Adapter
	fake *fake
}

// OpenFakeAdapter opens an adapter on a fake, and closes it after the test.
func OpenFakeAdapter(t *testing.T) *FakeAdapter {
	t.Helper()
	f := newFake(t)
	return &FakeAdapter{f.open(), f}
}

// ExpectPermits compares what the filter lets in.
func (a *FakeAdapter) ExpectPermits(t *testing.T, permits ...string) {
	t.Helper()
	if diff := cmp.Diff(permitted(a.Adapter, permits), a.fake.sight()); diff != "" {
		t.Errorf("the filter has (-want +got)\n%s", diff)
	}
}
