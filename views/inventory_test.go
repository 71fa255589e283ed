package views

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// cannedInventory is a workstation with a disk that is almost full and a policy of its own.
func cannedInventory() Inventory {
	return Inventory{
		At: now.Add(-3 * time.Minute), Edition: "Windows 11 Pro 24H2", Build: "10.0.26100.2033",
		CPU: "13th Gen Intel(R) Core(TM) i7-1365U", Cores: 12, Memory: 34019221504,
		Disks: []Disk{{"C:", "NTFS", 511101108224, 132341891072}, {"D:", "ReFS", 2000398934016, 61203283968}},
		Adapters: []Adapter{
			{"Ethernet", "8c:16:45:0a:1b:2c", []string{"10.20.4.117/22", "fe80::8d1c:2ab1:77aa:3f02/64"}},
			{"Wi-Fi", "8c:16:45:0a:1b:2d", nil},
		},
		LastUser: `CORP\nora`, Booted: now.Add(-75 * time.Hour), Link: "netstack",
		LinkReason: "There is no wireguard.dll on this device or its engine, so WireGuard runs inside the agent.",
		Limits:     []string{"The engine never reaches 3389/tcp.", "No terminal is opened."},
	}
}

// hostileInventory is as long as a device can make it, and empty where it can be.
func hostileInventory() Inventory {
	v := Inventory{
		At: now, Edition: hostile, Build: hostile, CPU: hostile, Cores: 1, LastUser: hostile,
		Link: hostile, LinkReason: hostile, Driver: hostile,
	}
	for n := range 32 {
		v.Disks = append(v.Disks, Disk{hostile, hostile, int64(n) - 1, 1 << 62})
		v.Adapters = append(v.Adapters, Adapter{hostile, hostile, []string{hostile, hostile}})
		v.Limits = append(v.Limits, hostile)
	}
	return v
}

func TestHardware(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabSummary)
	card := text(parse(t, HardwareCard(v)))
	for _, want := range []string{
		"as of 3 min ago", "10.0.26100.2033", "i7-1365U, 12 logical processors", "31.7 GiB", "C: NTFS 123.3 GiB free of 476.0 GiB D: ReFS",
		"almost full", "Ethernet 8c:16:45:0a:1b:2c 10.20.4.117/22 fe80::8d1c:2ab1:77aa:3f02/64 Wi-Fi", `CORP\nora`, "Started 3 days ago",
		"Netstack, inside the agent There is no wireguard.dll",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card does not say %q: %s", want, card)
		}
	}
	if n := strings.Count(card, "almost full"); n != 1 {
		t.Errorf("%d disks are almost full", n)
	}
	for _, tab := range []string{TabSummary, TabConfig} {
		page := parse(t, DevicePage(cannedPage(), cannedDevice(tab)))
		notes := elements(page, with("data-testid", "own-policy"))
		if len(notes) != 1 || !strings.Contains(text(notes[0]), "The engine never reaches 3389/tcp. No terminal is opened.") {
			t.Errorf("%s: %d notes of the policy", tab, len(notes))
		}
	}
	v.Inventory = Inventory{}
	for _, part := range []string{"own-policy", "hardware"} { // They may be filled while the page is open.
		if n := len(elements(parse(t, DevicePage(cannedPage(), v)), with("id", part))); n != 1 {
			t.Errorf("%s is there %d times without an inventory", part, n)
		}
	}
}

// TestLongLists: what a device has many of is a click away, and all of it is there.
func TestLongLists(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabSummary)
	v.Inventory.Disks, v.Inventory.Adapters = nil, nil
	for n := range 8 {
		v.Inventory.Disks = append(v.Inventory.Disks, Disk{Name: fmt.Sprintf("disk-%d", n), Size: 1})
		v.Inventory.Adapters = append(v.Inventory.Adapters, Adapter{Name: fmt.Sprintf("adapter-%d", n)})
	}
	card := parse(t, HardwareCard(v))
	for n := range 8 {
		for _, name := range []string{fmt.Sprintf("disk-%d", n), fmt.Sprintf("adapter-%d", n)} {
			if strings.Count(text(card), name) != 1 {
				t.Errorf("%s is there %d times", name, strings.Count(text(card), name))
			}
		}
	}
	for id, want := range map[string]string{"other-disks": "2 more disks disk-6", "other-adapters": "4 more adapters adapter-4"} {
		found := elements(card, with("id", id))
		if len(found) != 1 || !strings.HasPrefix(text(found[0]), want) {
			t.Errorf("%s: %d, want %q", id, len(found), want)
		}
	}
}

func TestDiskBar(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		disk Disk
		used int
		full bool
		room string
	}{
		{Disk{Size: 1000, Free: 1000}, 0, false, "1000 B free of 1000 B"},
		{Disk{Size: 4096, Free: 1024}, 750, false, "1.0 KiB free of 4.0 KiB"},
		{Disk{Size: 1000, Free: 50}, 950, false, "50 B free of 1000 B"},
		{Disk{Size: 1000, Free: 49}, 951, true, "49 B free of 1000 B"},
		{Disk{Size: 1000, Free: 0}, 1000, true, "0 B free of 1000 B"},
		{Disk{Size: 1 << 62, Free: 1 << 61}, 500, false, "2.0 EiB free of 4.0 EiB"},
		{Disk{Size: 0, Free: 0}, 0, false, "size not known"},
		{Disk{Size: 10, Free: 20}, 0, false, "20 B free of 10 B"},
		{Disk{Size: 10, Free: -1}, 0, false, "0 B free of 10 B"},
	} {
		if got := tt.disk; got.used() != tt.used || got.full() != tt.full || got.room() != tt.room {
			t.Errorf("%+v: %d, %v, %q", got, got.used(), got.full(), got.room())
		}
	}
}
