package terminal

const (
	defaultRing = 1 << 20
	leastRing   = 4 << 10
)

// ring holds the last bytes of a stream, each at its absolute offset. It takes memory as the stream
// grows, up to max.
type ring struct {
	buf        []byte // the byte at offset o is buf[o%len(buf)]
	max        int
	start, end int64 // it holds the bytes from start up to end
}

// newRing returns a ring for size bytes; 0 is the default.
func newRing(size int) ring {
	if size == 0 {
		size = defaultRing
	}
	size = max(size, leastRing)
	return ring{buf: make([]byte, min(size, 16<<10)), max: size}
}

// write appends p, over the oldest bytes where there is no room.
func (r *ring) write(p []byte) {
	if need := int(r.end-r.start) + len(p); need > len(r.buf) && len(r.buf) < r.max {
		r.grow(need)
	}
	r.end += int64(len(p))
	r.start = max(r.start, r.end-int64(len(r.buf)))
	if len(p) > len(r.buf) {
		p = p[len(p)-len(r.buf):]
	}
	at := int((r.end - int64(len(p))) % int64(len(r.buf)))
	n := copy(r.buf[at:], p)
	copy(r.buf, p[n:])
}

// grow makes room for need bytes, as far as max allows.
func (r *ring) grow(need int) {
	size := len(r.buf)
	for size < need && size < r.max {
		size = min(2*size, r.max)
	}
	bigger := ring{buf: make([]byte, size), max: size, start: r.start, end: r.start}
	at := int(r.start % int64(len(r.buf)))
	held := int(r.end - r.start)
	first := min(held, len(r.buf)-at)
	bigger.write(r.buf[at : at+first])
	bigger.write(r.buf[:held-first])
	r.buf = bigger.buf
}

// read copies bytes that the ring holds, beginning at offset from, and returns how many.
func (r *ring) read(p []byte, from int64) int {
	p = p[:min(int64(len(p)), r.end-from)]
	at := int(from % int64(len(r.buf)))
	n := copy(p, r.buf[at:])
	return n + copy(p[n:], r.buf)
}
