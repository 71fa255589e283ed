package wire_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
)

func trialRequest() wire.TrialRequest {
	return wire.TrialRequest{Key: key, Dialled: "büro.example:443", Done: true}
}

func trial() wire.Trial {
	return wire.Trial{Endpoint: "[2001:db8::1]:30000", ServerKey: key, Seconds: 10, Heard: true}
}

// TestTrial: what is sent of a trial of the path comes as it went, and nothing else passes.
func TestTrial(t *testing.T) {
	t.Parallel()
	b, err := trialRequest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.DecodeTrialRequest(b); err != nil || got != trialRequest() {
		t.Errorf("request: %v (-want +got):\n%s", err, cmp.Diff(trialRequest(), got))
	}
	if b, err = trial().Encode(); err != nil {
		t.Fatal(err)
	}
	if got, err := wire.DecodeTrial(b); err != nil || got != trial() {
		t.Errorf("answer: %v (-want +got):\n%s", err, cmp.Diff(trial(), got))
	}
	zero := strings.Repeat("A", 43) + "="
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{"key":""}`, `{"key":"` + zero + `"}`, `{"key":"` + key + `","psk":""}`, `{"key":"` + key + `","key":"` + key + `"}`,
		`{"KEY":"` + key + `"}`, `{"key":"` + key + `","dialled":"a\u001bb"}`, `{"key":"` + key + `","dialled":"` + strings.Repeat("a", 300) + `"}`,
		`{"key":"` + key + `","done":1}`, `{"key":"` + key + `"}{}`,
	} {
		if _, err := wire.DecodeTrialRequest([]byte(s)); err == nil {
			t.Errorf("DecodeTrialRequest(%q) passes", s)
		}
	}
	for _, s := range []string{
		``, `{}`, `{"endpoint":"a:1"}`, `{"endpoint":"","server_key":"` + key + `"}`, `{"endpoint":"a:1","server_key":"` + zero + `"}`,
		`{"endpoint":"a:1","server_key":"` + key + `","seconds":-1}`, `{"endpoint":"a:1","server_key":"` + key + `","seconds":61}`,
	} {
		if _, err := wire.DecodeTrial([]byte(s)); err == nil {
			t.Errorf("DecodeTrial(%q) passes", s)
		}
	}
	if _, err := (wire.TrialRequest{}).Encode(); err == nil {
		t.Error("a request without a key is sent")
	}
	if _, err := (wire.Trial{Endpoint: "a:1", ServerKey: key, Seconds: wire.TrialLongest + 1}).Encode(); err == nil {
		t.Error("a trial without end is sent")
	}
}

// FuzzDecodeTrialRequest checks that what is understood is said again the same way.
func FuzzDecodeTrialRequest(f *testing.F) {
	b, err := trialRequest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { again(t, b, wire.DecodeTrialRequest) })
}

// FuzzDecodeTrial checks that what is understood is said again the same way.
func FuzzDecodeTrial(f *testing.F) {
	b, err := trial().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { again(t, b, wire.DecodeTrial) })
}
