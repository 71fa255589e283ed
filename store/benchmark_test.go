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
	if _, err := s.AddSession(b.Context(), hash("cookie"), Session{OperatorID: ada.ID}, Record{}); err != nil {
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
				if _, _, err := s.Devices(b.Context(), DeviceQuery{Scope: everything, Text: text, Limit: 50, Offset: 5}); err != nil {
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

// BenchmarkAddRecord measures a durable line of the chain.
func BenchmarkAddRecord(b *testing.B) {
	s := openTest(b)
	fillChain(b, s, 1000)
	for b.Loop() {
		if err := s.AddRecord(b.Context(), Record{Actor: "ada", Kind: "tunnel_up", DeviceID: "d", TunnelID: "t", Detail: "10.0.0.2"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEachRecord measures a walk along 100,000 lines that verifies each.
func BenchmarkEachRecord(b *testing.B) {
	s := openTest(b)
	fillChain(b, s, 100_000)
	for b.Loop() {
		if n, err := verify(b.Context(), s); n < 100_000 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkRecords measures pages of a chain of a million lines.
func BenchmarkRecords(b *testing.B) {
	s := openTest(b)
	fillChain(b, s, 1_000_000)
	devices, _, err := s.Devices(b.Context(), DeviceQuery{Scope: everything, Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]RecordQuery{
		"newest": {Scope: everything},
		"quiet":  {Scope: everything, Quiet: true},
		"device": {Scope: everything, DeviceID: devices[0].ID},
		"kind":   {Scope: everything, Kind: "tunnel_down"},
		"actor":  {Scope: everything, Actor: "operator-5"},
		"site":   {Scope: Scope{Sites: []string{"Berlin"}}, Quiet: true},
		"middle": {Scope: everything, Before: 500_000},
		"text":   {Scope: everything, Text: "nothing says this"},
		"nosite": {Scope: Scope{Sites: []string{"Rome"}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Records(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.CountRecords(b.Context(), RecordQuery{Scope: everything}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("kinds", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Kinds(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
