package tunnel

import (
	"strings"
	"testing"

	"borealis/agent/wire"
	"borealis/store"

	"github.com/google/go-cmp/cmp"
)

// TestWelcomeNamesTheDriver: an agent on Windows that knows what a driver is, on a device
// that may have it, is told of the one for its processor; nobody else is.
func TestWelcomeNamesTheDriver(t *testing.T) {
	t.Parallel()
	kept := &wire.File{SHA256: strings.Repeat("a1", 32), Size: 7}
	r := newRig(t, func(c *Config) {
		c.Driver = func(arch string) *wire.File {
			if arch == "amd64" {
				return kept
			}
			return nil
		}
	})
	newest := wire.Hello{Nonce: testNonce, OS: "windows", Arch: "amd64", Protocol: 2}
	linux, arm, old := newest, newest, newest
	linux.OS, arm.Arch, old.Protocol = "linux", "arm64", 0
	pending := func(c *store.Code) { c.AutoApprove = false }
	for _, tc := range []struct {
		name   string
		hello  wire.Hello
		change []func(*store.Code)
		want   *wire.File
	}{
		{"windows", newest, nil, kept},
		{"linux", linux, nil, nil},
		{"no driver for it", arm, nil, nil},
		{"an old agent", old, nil, nil},
		{"waiting for approval", newest, []func(*store.Code){pending}, nil},
	} {
		d, _ := r.device(t, tc.name, tc.change...)
		c, err := r.Join(t.Context(), d, tc.hello, "127.0.0.1", r.keys.Identity, nil)
		if err != nil {
			t.Fatal(err)
		}
		msg := <-c.Outgoing()
		c.Leave()
		if msg.Welcome == nil {
			t.Fatalf("%s: the first message is %+v", tc.name, msg)
		}
		if diff := cmp.Diff(tc.want, msg.Welcome.Driver); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
	}
}
