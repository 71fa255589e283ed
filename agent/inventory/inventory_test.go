package inventory

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
)

// TestGather asks the machine of the test, about which little is certain.
func TestGather(t *testing.T) {
	t.Parallel()
	i := Gather(t.Context())
	t.Logf("%+v", i)
	if i.Edition == "" || i.Edition != Edition() || i.Build == "" || i.Cores < 1 || i.Memory < 64<<20 {
		t.Errorf("edition %q, build %q, %d cores, %d bytes", i.Edition, i.Build, i.Cores, i.Memory)
	}
	if i.Booted.IsZero() || i.Booted.After(time.Now().Add(time.Minute)) {
		t.Errorf("started at %v", i.Booted)
	}
	if len(i.Disks) == 0 {
		t.Error("no disks")
	}
	for _, d := range i.Disks {
		if d.Name == "" || d.Size <= 0 || d.Free < 0 || d.Free > d.Size {
			t.Errorf("disk %+v", d)
		}
	}
	for _, a := range i.Adapters {
		if a.Name == "" || strings.Contains(strings.Join(a.Addresses, " "), "127.0.0.1/") {
			t.Errorf("adapter %+v", a)
		}
	}
	if _, err := (wire.FromAgent{Inventory: &i}).Encode(); err != nil {
		t.Error(err)
	}
	again := Gather(t.Context())
	again.Disks, i.Disks, again.Booted, i.Booted = nil, nil, time.Time{}, time.Time{}
	if diff := cmp.Diff(i, again); diff != "" {
		t.Errorf("asked again (-before +after):\n%s", diff)
	}
}

// TestGatherStops: nothing more is asked when there is no time left.
func TestGatherStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if i := Gather(ctx); len(i.Disks) > 0 {
		t.Errorf("disks were asked: %+v", i.Disks)
	}
}

// TestFit: whatever a device calls things, and however many it has, becomes a message.
func TestFit(t *testing.T) {
	t.Parallel()
	evil := "<b>\x1b[31m\u202e\x00a\u00a0b\r\n\xff" + strings.Repeat("<東>", 200)
	i := wire.Inventory{
		Edition: evil, Build: evil, CPU: evil, LastUser: evil, Cores: -1, Memory: -1,
		Booted: time.Unix(1e9, 5),
	}
	var addresses []string
	for n := range 100 {
		addresses = append(addresses, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(n)}), 64).String())
	}
	for range 100 {
		i.Disks = append(i.Disks, wire.Disk{Name: evil, Kind: evil, Size: 1 << 40, Free: 1 << 39})
		i.Adapters = append(i.Adapters, wire.Adapter{Name: evil, MAC: evil, Addresses: addresses})
	}
	got := fit(i)
	if len(got.Disks) != wire.MaxDisks || len(got.Adapters) != wire.MaxAdapters || len(got.Adapters[0].Addresses) != wire.MaxAddrs {
		t.Errorf("%d disks, %d adapters", len(got.Disks), len(got.Adapters))
	}
	if got.Cores != 0 || got.Memory != 0 || !got.Booted.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%d cores, %d bytes, started %v", got.Cores, got.Memory, got.Booted)
	}
	if !strings.HasPrefix(got.CPU, "<b>[31ma b <東>") || len(got.CPU) > longest || !utf8.ValidString(got.CPU) {
		t.Errorf("the processor is %q", got.CPU)
	}
	got.Disks, got.Adapters = got.Disks[:4], got.Adapters[:4] // the whole would be too long, and no device is like that
	if _, err := (wire.FromAgent{Inventory: &got}).Encode(); err != nil {
		t.Error(err)
	}
	for _, clock := range []time.Time{{}, time.Unix(0, 0), time.Unix(315532799, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := fit(wire.Inventory{Booted: clock}); !got.Booted.IsZero() {
			t.Errorf("%v becomes %v", clock, got.Booted)
		}
	}
	if n := bytes(1 << 63); n != 1<<63-1 {
		t.Errorf("2^63 bytes become %d", n)
	}
}

// TestLargestReal: the most that a real device has still fits into one message.
func TestLargestReal(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("Ä", longest/2)
	i := wire.Inventory{Edition: name, Build: name, CPU: name, LastUser: name, LinkReason: strings.Repeat("x", 1024)}
	for range wire.MaxDisks {
		i.Disks = append(i.Disks, wire.Disk{Name: name, Kind: name, Size: 1 << 60, Free: 1 << 60})
	}
	for range wire.MaxAdapters {
		a := wire.Adapter{Name: name, MAC: "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"}
		for range wire.MaxAddrs {
			a.Addresses = append(a.Addresses, "2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff/128")
		}
		i.Adapters = append(i.Adapters, a)
	}
	for range wire.MaxLimits {
		i.Limits = append(i.Limits, strings.Repeat("x", 256))
	}
	b, err := wire.FromAgent{Inventory: &i}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(b), wire.MaxMessage)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	made := func(name, mac string, hardware bool, addresses ...string) card {
		c := card{Interface: net.Interface{Name: name}, hardware: hardware}
		if mac != "" {
			var err error
			if c.HardwareAddr, err = net.ParseMAC(mac); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range addresses {
			c.addresses = append(c.addresses, netip.MustParsePrefix(a))
		}
		return c
	}
	got := choose([]card{
		made("unplugged", "02:00:00:00:00:01", true),
		made("veth12ab", "02:00:00:00:00:02", false, "fe80::1/64"),
		made("Ethernet", "02:00:00:00:00:03", true, "fe80::2/64", "192.0.2.5/24"),
		made("VPN", "", false, "2001:db8::1/128"),
		made("no DHCP", "02:00:00:00:00:04", true, "169.254.3.4/16"),
		made("bare", "", false),
	})
	want := []wire.Adapter{
		{Name: "Ethernet", MAC: "02:00:00:00:00:03", Addresses: []string{"fe80::2/64", "192.0.2.5/24"}},
		{Name: "VPN", Addresses: []string{"2001:db8::1/128"}},
		{Name: "unplugged", MAC: "02:00:00:00:00:01"},
		{Name: "no DHCP", MAC: "02:00:00:00:00:04", Addresses: []string{"169.254.3.4/16"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("adapters (-want +got):\n%s", diff)
	}
}
