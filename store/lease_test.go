package store

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var pool16 = netip.MustParsePrefix("10.255.0.0/16")

func TestLeaseThousandAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s := openAt(t, path)
	devices := addDevices(t, s, 1000)
	pool := netip.MustParsePrefix("10.20.0.0/22") // 1021 addresses for devices
	given := make([]netip.Addr, len(devices))
	for _, err := range atOnce(len(devices), func(i int) (err error) {
		given[i], err = s.Lease(t.Context(), devices[i].ID, pool)
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	never := map[netip.Addr]string{
		netip.MustParseAddr("10.20.0.0"):   "the network",
		netip.MustParseAddr("10.20.0.1"):   "the engine",
		netip.MustParseAddr("10.20.3.255"): "the broadcast address",
	}
	owner := make(map[netip.Addr]int)
	for i, a := range given {
		if what := never[a]; what != "" || !pool.Contains(a) {
			t.Errorf("device %d got %s %s", i, a, what)
		}
		if other, taken := owner[a]; taken {
			t.Errorf("devices %d and %d both got %s", i, other, a)
		}
		owner[a] = i
	}
	if highest := netip.MustParseAddr("10.20.3.233"); owner[highest] == 0 && given[0] != highest {
		t.Errorf("1000 leases do not fill the addresses up to %s", highest)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	for i, d := range devices {
		again, err := s.Lease(t.Context(), d.ID, pool)
		if err != nil || again != given[i] {
			t.Fatalf("device %d has %s after a restart, %v, want %s", i, again, err, given[i])
		}
		if i%100 == 0 {
			if d, err := s.Device(t.Context(), d.ID); err != nil || d.VirtualIP != given[i] {
				t.Errorf("device %d shows %s, %v, want %s", i, d.VirtualIP, err, given[i])
			}
		}
	}
}

func TestLeasePools(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pool string
		want []string // then the pool is exhausted
	}{
		{"10.255.0.0/29", []string{"10.255.0.2", "10.255.0.3", "10.255.0.4", "10.255.0.5", "10.255.0.6"}},
		{"10.255.0.13/29", []string{"10.255.0.10", "10.255.0.11", "10.255.0.12", "10.255.0.13", "10.255.0.14"}},
		{"192.168.7.252/30", []string{"192.168.7.254"}},
		{"255.255.255.248/29", []string{"255.255.255.250", "255.255.255.251", "255.255.255.252", "255.255.255.253", "255.255.255.254"}},
		{"10.0.0.0/31", nil},
		{"10.0.0.1/32", nil},
	}
	for _, test := range tests {
		t.Run(test.pool, func(t *testing.T) {
			t.Parallel()
			s, ctx := openTest(t), t.Context()
			var got []string
			for _, d := range addDevices(t, s, len(test.want)+2) {
				a, err := s.Lease(ctx, d.ID, netip.MustParsePrefix(test.pool))
				if len(got) == len(test.want) {
					if !errors.Is(err, ErrPoolExhausted) {
						t.Errorf("lease %d: %s, error %v, want ErrPoolExhausted", len(got)+1, a, err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, a.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("leases (-want +got):\n%s", diff)
			}
			if err := s.Check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLeasePoolChanged makes sure that an address never passes from one device to
// another one, whatever is done to the pool.
func TestLeasePoolChanged(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	devices := addDevices(t, s, 8)
	lease := func(device int, pool string) string {
		t.Helper()
		a, err := s.Lease(t.Context(), devices[device].ID, netip.MustParsePrefix(pool))
		if errors.Is(err, ErrPoolExhausted) {
			return "exhausted"
		}
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	steps := []struct {
		device     int
		pool, want string
	}{
		{0, "10.1.0.0/29", "10.1.0.2"},
		{1, "10.1.0.0/29", "10.1.0.3"},
		{0, "10.2.0.0/29", "10.2.0.2"},   // another pool, another address
		{2, "10.1.0.0/29", "10.1.0.4"},   // the first one's old address is not given away
		{0, "10.1.0.0/29", "10.1.0.2"},   // and comes back with its pool
		{3, "10.2.0.0/29", "10.2.0.3"},   // as does not the one in the second pool
		{4, "10.1.0.0/28", "10.1.0.5"},   // a larger pool goes on
		{2, "10.1.0.0/28", "10.1.0.4"},   // and keeps what fits
		{2, "10.1.0.4/30", "10.1.0.6"},   // its address would be the network's here
		{1, "10.1.0.2/31", "exhausted"},  // no room for anybody
		{5, "10.1.0.0/28", "10.1.0.7"},   // .6 is given
		{6, "10.1.0.0/28", "10.1.0.8"},   //
		{7, "10.1.0.4/30", "exhausted"},  // its only address is the third one's
		{2, "10.1.0.0/28", "10.1.0.6"},   // has two in this pool: stays where it is
		{7, "10.1.0.0/28", "10.1.0.9"},   //
		{7, "10.1.0.12/30", "10.1.0.14"}, //
		{3, "10.1.0.8/29", "10.1.0.10"},  // a gap is filled from below
	}
	for i, step := range steps {
		for range 2 { // the second call changes nothing
			if got := lease(step.device, step.pool); got != step.want {
				t.Errorf("step %d: device %d in pool %s got %s, want %s", i, step.device, step.pool, got, step.want)
			}
		}
	}
}

func TestLeaseRefused(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 1)[0]
	for _, pool := range []netip.Prefix{{}, netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("::ffff:10.0.0.0/112")} {
		if a, err := s.Lease(ctx, d.ID, pool); err == nil {
			t.Errorf("pool %s gave %s", pool, a)
		}
	}
	if _, err := s.Lease(ctx, "none", pool16); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown device: error %v, want ErrNotFound", err)
	}
	if a, err := s.Lease(ctx, d.ID, pool16); err != nil || a.String() != "10.255.0.2" {
		t.Errorf("refusals used addresses up: %s, %v", a, err)
	}
}
