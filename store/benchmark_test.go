package store

import (
	"fmt"
	"testing"
)

// BenchmarkRead measures one row by its id.
func BenchmarkRead(b *testing.B) {
	s := openTest(b)
	d := addDevices(b, s, 1000)[500]
	for b.Loop() {
		if _, err := s.Device(b.Context(), d.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSession measures what every request of a console needs.
func BenchmarkSession(b *testing.B) {
	s := openTest(b)
	ada := addOperator(b, s, "ada")
	if _, err := s.AddSession(b.Context(), hash("cookie"), Session{OperatorID: ada.ID}); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := s.SessionByHash(b.Context(), hash("cookie")); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPage measures a page of devices out of a thousand.
func BenchmarkPage(b *testing.B) {
	s := openTest(b)
	addDevices(b, s, 1000)
	for _, text := range []string{"", "pc-99"} {
		b.Run(fmt.Sprintf("text=%q", text), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Devices(b.Context(), DeviceQuery{Text: text, Limit: 50, Offset: 5}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWrite measures a durable commit.
func BenchmarkWrite(b *testing.B) {
	s := openTest(b)
	for i := 0; b.Loop(); i++ {
		// The same value again would not be written at all.
		if err := s.SetSetting(b.Context(), "key", fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}
