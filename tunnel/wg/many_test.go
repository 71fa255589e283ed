package wg_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// manyPeers adds peers to a fresh interface, and returns them.
func manyPeers(t testing.TB, mode wg.Mode, count int) (*wg.Interface, []wgtypes.Key) {
	t.Helper()
	i := open(t, mode, "engine0", engineIP)
	keys := make([]wgtypes.Key, count)
	for n := range keys {
		keys[n] = newKey(t).PublicKey()
		if err := i.AddPeer(wg.Peer{PublicKey: keys[n], PresharedKey: newPSK(t), AllowedIP: addressOf(n)}); err != nil {
			t.Fatal(err)
		}
	}
	return i, keys
}

// TestManyPeers repairs a large table in which a few are not right, and then one in which many are not.
func TestManyPeers(t *testing.T) {
	t.Parallel()
	const count = 2000
	i, keys := manyPeers(t, wg.Netstack, count)
	repaired(t, i)
	meddle(t, i, wgtypes.Config{Peers: []wgtypes.PeerConfig{
		{PublicKey: keys[7], Remove: true}, {PublicKey: keys[1999], Remove: true}, {PublicKey: newKey(t).PublicKey()},
	}})
	repaired(t, i, "somebody else", "was missing", "was missing")
	var most []wgtypes.PeerConfig
	for _, key := range keys[100:] {
		most = append(most, wgtypes.PeerConfig{PublicKey: key, Remove: true})
	}
	meddle(t, i, wgtypes.Config{Peers: most})
	got, err := i.Repair()
	if err != nil || len(got) != 9 || !strings.Contains(got[8], "1892") {
		t.Errorf("repaired %q, %v", got, err)
	}
	peers, err := i.Peers()
	if err != nil || len(peers) != count {
		t.Errorf("%d peers, %v", len(peers), err)
	}
}

// BenchmarkRepair finds nothing to repair, as every five seconds, and tells what the table costs.
func BenchmarkRepair(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			begun := time.Now()
			i, _ := manyPeers(b, wg.Netstack, count)
			added := time.Since(begun)
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				if got, err := i.Repair(); err != nil || len(got) != 0 {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(float64(added.Microseconds())/float64(count), "µs/add")
			b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/float64(count), "B/peer")
		})
	}
}
