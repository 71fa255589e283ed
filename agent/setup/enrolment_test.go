package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdentityIsPutBack(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for _, tt := range []struct {
		name    string
		before  map[string]string
		replace bool
	}{
		{"a new device", nil, false},
		{"a device without an engine", map[string]string{"identity.key": "key"}, false},
		{"a device of the same engine", map[string]string{"identity.key": "key", "engine.json": "{}"}, false},
		{"a device to be replaced", map[string]string{"identity.key": "key", "engine.json": "{}"}, true},
		{"a new device to be replaced", nil, true},
	} {
		i := subject(t, "")
		i.Replace, i.unknown = tt.replace, true
		for name, content := range tt.before {
			write(t, filepath.Join(i.keys(), name), content)
		}
		if err := os.MkdirAll(filepath.Dir(i.keys()), 0o700); err != nil {
			t.Fatal(err)
		}
		before := tree(t, i.Data)
		for _, fails := range []error{refused, nil} {
			i.Enrol = func(context.Context) (Device, error) {
				if tt.replace {
					if _, err := os.Stat(i.keys()); err == nil {
						t.Errorf("%s: the identity before is still there", tt.name)
					}
				}
				write(t, filepath.Join(i.keys(), "engine.json"), "another")
				write(t, filepath.Join(i.keys(), "seal.dpapi"), "new")
				return Device{ID: "device-1", State: "pending"}, fails
			}
			outcome, undo, err := i.enrol(t.Context())
			if !errors.Is(err, fails) {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if err == nil && !strings.Contains(outcome, "device device-1 is pending") {
				t.Errorf("%s: %s", tt.name, outcome)
			}
			if aside := i.keys() + ".replaced-now"; err == nil && tt.replace && tt.before != nil {
				if !strings.Contains(outcome, aside) || read(t, filepath.Join(aside, "identity.key")) != "key" {
					t.Errorf("%s: the identity before is lost: %s", tt.name, outcome)
				}
			}
			if err := undo(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, i.Data)); diff != "" {
				t.Errorf("%s, undone (-before +after):\n%s", tt.name, diff)
			}
		}
	}
	i := subject(t, "")
	if outcome, undo, err := i.enrol(t.Context()); outcome != present || undo != nil || err != nil {
		t.Errorf("enrolled already: %s, %v", outcome, err)
	}
}

func TestWhichEngine(t *testing.T) {
	t.Parallel()
	lost := errors.New("damaged")
	for _, tt := range []struct {
		name, address, pin string
		err                error
		replace, unknown   bool
		without            bool // a code
		fails              error
	}{
		{name: "none", unknown: true},
		{name: "the same", address: "e:1", pin: "P"},
		{name: "the same at another address", address: "e:2", pin: "P", unknown: true},
		{name: "another", address: "e:1", pin: "Q", fails: ErrOtherEngine},
		{name: "another, to be replaced", address: "e:1", pin: "Q", replace: true, unknown: true},
		{name: "the same, to be replaced", address: "e:1", pin: "P", replace: true, unknown: true},
		{name: "without a code", address: "e:1", pin: "Q", without: true},
		{name: "none, without a code", without: true, fails: ErrNoCode},
		{name: "a lost identity", err: lost, fails: lost},
		{name: "a lost identity, to be replaced", err: lost, replace: true, unknown: true},
	} {
		i := &installer{Config: Config{Address: "e:1", Pin: "P", Replace: tt.replace}}
		if tt.without {
			i.Address, i.Pin = "", ""
		}
		i.Enrolled = func() (string, string, error) { return tt.address, tt.pin, tt.err }
		err := i.engine()
		if !errors.Is(err, tt.fails) || tt.fails == nil && err != nil || i.unknown != tt.unknown {
			t.Errorf("%s: enrol %t, %v", tt.name, i.unknown, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--replace") && !strings.Contains(err.Error(), "--code") {
			t.Errorf("%s: %v does not say how to go on", tt.name, err)
		}
	}
}
