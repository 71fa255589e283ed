package terminal

import (
	"context"
	"slices"
	"testing"
	"time"
)

// report gives the middle and the worst of many times.
func report(b *testing.B, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[int(share*float64(len(times)-1))].Microseconds())
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkKeystroke is a key on its way to a program and its echo back.
func BenchmarkKeystroke(b *testing.B) {
	term := open(b, newDevice(b).config(b))
	r := quiet(b, term)
	r.typeln("stty raw; exec cat")
	r.typeln("x")
	r.expect("x")
	var times []time.Duration
	key := []byte("k")
	for b.Loop() {
		begun := time.Now()
		if _, err := term.Write(key); err != nil {
			b.Fatal(err)
		}
		r.expect("k")
		times = append(times, time.Since(begun))
	}
	report(b, times)
}

// BenchmarkOutput is a program that writes as fast as it can.
func BenchmarkOutput(b *testing.B) {
	path, want := stream(b, 50<<20)
	term := open(b, newDevice(b).config(b))
	r := quiet(b, term)
	b.SetBytes(int64(len(want)))
	var reads int
	for b.Loop() {
		r.typeln("cat " + path)
		for left := len(want) + len("ready> "); left > 0; reads++ {
			data, offset, err := r.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			left -= len(data)
			r.Ack(offset + int64(len(data)))
		}
	}
	b.ReportMetric(float64(b.N*len(want))/float64(reads), "bytes/read")
}

// BenchmarkOpen is from a connected socket to the shell's first output, sign-in and all.
func BenchmarkOpen(b *testing.B) {
	d := newDevice(b)
	var times, signIn []time.Duration
	for b.Loop() {
		c := d.config(b)
		begun := time.Now()
		term, err := Open(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		signIn = append(signIn, time.Since(begun))
		r := watch(b, term, -1)
		if err := r.more(); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(begun))
		term.Close()
	}
	report(b, times)
	slices.Sort(signIn)
	b.ReportMetric(float64(signIn[len(signIn)/2].Microseconds()), "p50-open-µs")
}

// BenchmarkInterrupt is from Ctrl-C under a flood to the prompt.
func BenchmarkInterrupt(b *testing.B) {
	term := open(b, newDevice(b).config(b))
	r := quiet(b, term)
	var times []time.Duration
	for b.Loop() {
		r.typeln("yes")
		for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; {
			r.out = r.out[:0]
			if err := r.more(); err != nil {
				b.Fatal(err)
			}
		}
		begun := time.Now()
		if _, err := term.Write([]byte{3}); err != nil {
			b.Fatal(err)
		}
		r.expect("ready> ")
		times = append(times, time.Since(begun))
	}
	report(b, times)
}
