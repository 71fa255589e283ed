package limits

import (
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// FuzzPolicy reads whatever a file may hold. What is understood only narrows, and can be told.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"never_ports": ["3389/tcp", "5900-5910/tcp"], "no_terminal": true, "no_updates": true, "shell_as": "user"}`,
		`{"hours": [{"days": ["mon", "tue"], "from": "07:00", "to": "19:00"}, {"from": "22:00", "to": "02:00"}]}`, `{"hours": null}`, "\ufeff{}",
	} {
		f.Add([]byte(s))
	}
	asked := []token.Port{{Protocol: "tcp", From: 22, To: 3389}, {Protocol: "udp", From: 1, To: 65535}}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		for _, p := range subtract(asked, r.never) {
			of := asked[0]
			if p.Protocol == "udp" {
				of = asked[1]
			}
			if p.From > p.To || p.From < of.From || p.To > of.To {
				t.Fatalf("%+v is none of %+v", p, asked)
			}
			for _, n := range r.never {
				if n.Protocol == p.Protocol && n.From <= p.To && p.From <= n.To {
					t.Fatalf("%+v is left, without %+v", p, n)
				}
			}
		}
		at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
		if until, ok := r.week.open(at); ok && !until.IsZero() && (!until.After(at) || until.After(at.AddDate(0, 0, 8))) {
			t.Fatalf("open until %v", until)
		}
		if _, err := (wire.FromAgent{Inventory: &wire.Inventory{Limits: r.sentences()}}).Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
