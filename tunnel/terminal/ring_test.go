package terminal

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A ring holds the end of what was written, whatever the sizes.
func TestRing(t *testing.T) {
	t.Parallel()
	for _, size := range []int{leastRing, leastRing + 1, 20_000, 64 << 10, 100_001} {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		r := newRing(size)
		var all []byte
		for len(all) < 5*size {
			p := make([]byte, random.IntN(1+random.IntN(2*size)))
			for i := range p {
				p[i] = byte(random.Uint32())
			}
			r.write(p)
			all = append(all, p...)
			if r.end != int64(len(all)) || r.start != int64(max(0, len(all)-size)) {
				t.Fatalf("seed %d: ring of %d holds %d to %d of %d", seed, size, r.start, r.end, len(all))
			}
			if len(r.buf) > size {
				t.Fatalf("seed %d: ring of %d takes %d", seed, size, len(r.buf))
			}
			from := r.start + random.Int64N(r.end-r.start+1)
			got := make([]byte, random.IntN(size+1))
			got = got[:r.read(got, from)]
			if !bytes.Equal(got, all[from:from+int64(len(got))]) {
				t.Fatalf("seed %d: ring of %d has other bytes at %d", seed, size, from)
			}
		}
	}
	if r := newRing(0); r.max != defaultRing || len(r.buf) >= defaultRing {
		t.Errorf("a new ring holds %d and takes %d", r.max, len(r.buf))
	}
}
