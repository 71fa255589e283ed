package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"zombiezen.com/go/sqlite"
)

// Lease returns the virtual IP of a device in that pool of IPv4 addresses. The
// first call gives the lowest address that no device was ever given; later calls,
// also after a restart, return the same one. The network's own address, the
// engine's, which is the first host address, and the broadcast address are never
// given. When the pool was changed the device gets another address, and its old
// one again when the pool is changed back; no other device ever gets either.
//
// The error is [ErrPoolExhausted] when nothing is left, and [ErrNotFound] for an
// unknown device.
func (s *Store) Lease(ctx context.Context, deviceID string, pool netip.Prefix) (netip.Addr, error) {
	first, last, err := leasable(pool)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("lease an address of pool %s: %w", pool, err)
	}
	var leased netip.Addr
	if leased, err = s.leased(ctx, deviceID, first, last); err == nil {
		return leased, nil
	}
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		leased, err = s.lease(conn, deviceID, first, last)
		return err
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("lease an address of pool %s for device %s: %w", pool, deviceID, err)
	}
	return leased, nil
}

// leasable returns the first and the last address that a pool has for devices.
func leasable(pool netip.Prefix) (first, last int64, err error) {
	if !pool.IsValid() || !pool.Addr().Is4() {
		return 0, 0, fmt.Errorf("not a range of IPv4 addresses")
	}
	network := int64(number(pool.Masked().Addr()))
	size := int64(1) << (32 - pool.Bits())
	first, last = network+2, network+size-2 // without network and engine, and without broadcast
	if first > last {
		return 0, 0, fmt.Errorf("%w: it has %d addresses and the engine needs one", ErrPoolExhausted, size)
	}
	return first, last, nil
}

// leased returns the address that a device has and uses already.
func (s *Store) leased(ctx context.Context, deviceID string, first, last int64) (netip.Addr, error) {
	d, err := s.Device(ctx, deviceID)
	if err != nil {
		return netip.Addr{}, err
	}
	if !d.VirtualIP.IsValid() || !within(d.VirtualIP, first, last) {
		return netip.Addr{}, ErrNotFound
	}
	return d.VirtualIP, nil
}

// lease finds the address of a device between first and last, or gives it one.
func (s *Store) lease(conn *sqlite.Conn, deviceID string, first, last int64) (netip.Addr, error) {
	own, err := query(conn, "lease_own", named{":device_id": deviceID, ":first": first, ":last": last}, addressRow)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(own) == 0 {
		own, err = s.giveNext(conn, deviceID, first, last)
		if err != nil {
			return netip.Addr{}, err
		}
	}
	return own[0], runOne(conn, "device_set_address", named{":id": deviceID, ":virtual_ip": int64(number(own[0]))})
}

// giveNext gives a device the lowest address between first and last that was never
// given. No address ever becomes free again, so the search goes on where the last
// one in this pool ended.
func (s *Store) giveNext(conn *sqlite.Conn, deviceID string, first, last int64) ([]netip.Addr, error) {
	pool := [2]int64{first, last}
	next, err := query(conn, "lease_next", named{":first": max(first, s.searched[pool]), ":last": last}, addressRow)
	if err != nil {
		return nil, err
	}
	if !next[0].IsValid() || !within(next[0], first, last) {
		return nil, ErrPoolExhausted
	}
	s.searched[pool] = int64(number(next[0]))
	return next, run(conn, "lease_add", named{":address": int64(number(next[0])), ":device_id": deviceID, ":given_at": nanos(time.Now())})
}

// within says whether an address lies between two.
func within(a netip.Addr, first, last int64) bool {
	n := int64(number(a))
	return first <= n && n <= last
}

func addressRow(stmt *sqlite.Stmt) (netip.Addr, error) {
	return address(stmt, "address"), nil
}
