package inventory

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
)

// made is a system of some files, whose file systems have 100 bytes each.
func made(files map[string]string) system {
	all := fstest.MapFS{}
	for name, text := range files {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return system{all, func(path string) (int64, int64, error) {
		if path == "/locked" {
			return 0, 0, errors.New("permission denied")
		}
		return 100, 40, nil
	}}
}

func TestLinux(t *testing.T) {
	t.Parallel()
	s := made(map[string]string{
		"etc/os-release":            "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"etc/machine-id":            "0123456789abcdef\n",
		"proc/sys/kernel/osrelease": "6.1.0-25-amd64\n",
		"proc/cpuinfo":              "processor\t: 0\nmodel name\t: Some CPU @ 2.10GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 2.10GHz\n",
		"proc/meminfo":              "MemTotal:       16303428 kB\nMemFree:         1234 kB\n",
		"proc/stat":                 "cpu  1 2 3\nbtime 1763805600\nprocesses 5\n",
		"proc/self/mountinfo":       "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
		"run/systemd/sessions/c1":   "UID=101\nUSER=gdm\nCLASS=greeter\nREALTIME=9763805600000000\n",
		"run/systemd/sessions/2":    "UID=1000\nUSER=nora\nCLASS=user\nREALTIME=1763805600000001\n",
		"run/systemd/sessions/10":   "UID=1001\nUSER=jon\nCLASS=user\nREALTIME=1763805600000000\n",
	})
	var got wire.Inventory
	s.gather(t.Context(), &got)
	want := wire.Inventory{
		Build: "6.1.0-25-amd64", CPU: "Some CPU @ 2.10GHz", Cores: 2, Memory: 16303428 << 10, LastUser: "nora",
		Booted: time.Unix(1763805600, 0), Disks: []wire.Disk{{Name: "/", Kind: "ext4", Size: 100, Free: 40}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if got := s.edition(); got != "Debian GNU/Linux 12 (bookworm)" {
		t.Errorf("edition %q", got)
	}
	if got := s.machineID(); got != "0123456789abcdef" {
		t.Errorf("machine id %q", got)
	}
}

// TestLinuxElsewhere: what other systems lack, or have in other places.
func TestLinuxElsewhere(t *testing.T) {
	t.Parallel()
	var bare wire.Inventory
	nothing := made(nil)
	nothing.gather(t.Context(), &bare)
	if bare.Cores < 1 {
		t.Errorf("%d cores", bare.Cores)
	}
	bare.Cores = 0
	if diff := cmp.Diff(wire.Inventory{}, bare); diff != "" || nothing.edition() != "" || nothing.machineID() != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
	s := made(map[string]string{
		"usr/lib/os-release":         "PRETTY_NAME='Alpine Linux v3.22'\n",
		"etc/machine-id":             "\n",
		"var/lib/dbus/machine-id":    "dbus\n",
		"proc/cpuinfo":               "processor\t: 0\nBogoMIPS\t: 108.00\n",
		"proc/device-tree/model":     "Raspberry Pi 4 Model B Rev 1.4\x00",
		"proc/stat":                  "btime nonsense\n",
		"proc/meminfo":               "MemTotal: much\n",
		"run/systemd/sessions/1":     "USER=nobody\nCLASS=user\n",
		"run/systemd/sessions/1.ref": "",
	})
	var got wire.Inventory
	s.gather(t.Context(), &got)
	if got.CPU != "Raspberry Pi 4 Model B Rev 1.4" || got.Cores != 1 || got.Memory != 0 || !got.Booted.IsZero() || got.LastUser != "" {
		t.Errorf("%+v", got)
	}
	if s.edition() != "Alpine Linux v3.22" || s.machineID() != "dbus" {
		t.Errorf("edition %q, machine id %q", s.edition(), s.machineID())
	}
}

func TestDisks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mounts string
		want   string // names and kinds
	}{
		"a server": {`
24 30 0:22 / /sys rw,nosuid - sysfs sysfs rw
30 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
33 30 8:1 / /boot/efi rw - vfat /dev/sda1 rw
40 30 8:17 / /srv/with\040space rw shared:3 master:1 - xfs /dev/mapper/data-srv rw
41 30 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
42 30 0:50 / /mnt/share rw - nfs4 10.0.0.9:/export rw
43 30 0:51 / /mnt/win rw - cifs //files/x rw
44 30 0:52 / /home/jon/cloud rw - fuse.rclone /dev/trap rw
45 30 11:0 / /media/cdrom ro - iso9660 /dev/sr0 ro
46 30 8:33 / /media/usb rw - fuseblk /dev/sdc1 rw
47 30 0:30 / /run rw - tmpfs tmpfs rw
48 30 8:49 / /locked rw - ext4 /dev/sdd1 rw
`, "/ ext4, /boot/efi vfat, /srv/with space xfs, /media/usb fuseblk"},
		"a container": {`
700 600 0:90 / / rw - overlay overlay rw,lowerdir=/a:/b
701 700 254:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/vda1 rw
702 700 254:1 /var/lib/docker/volumes/y/_data /data rw - ext4 /dev/vda1 rw
`, "/ overlay"},
		"btrfs": {`
30 1 0:27 /@ / rw - btrfs /dev/nvme0n1p2 rw,subvol=/@
31 30 0:27 /@home /home rw - btrfs /dev/nvme0n1p2 rw,subvol=/@home
32 30 259:1 / /boot rw - ext4 /dev/nvme0n1p1 rw
`, "/ btrfs, /boot ext4"},
		"zfs": {`
30 1 0:27 / / rw - zfs rpool/ROOT/debian rw
31 30 0:28 / /home rw - zfs rpool/home rw
32 30 0:29 / /tank rw - zfs tank rw
`, "/ zfs, /tank zfs"},
		"one over the other": {`
1 1 0:2 / / rw - rootfs rootfs rw
30 1 8:2 / / rw - ext4 /dev/sda2 rw
31 30 8:2 / /again rw - ext4 /dev/sda2 rw
`, "/ ext4"},
		"nonsense": {"\n - \n1 2 3\n30 1 8:2 / / rw ext4 /dev/sda2 rw\n30 1 8:2 / / rw - ext4\n\x00\xff", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range made(map[string]string{"proc/self/mountinfo": tt.mounts}).disks(t.Context()) {
				got = append(got, d.Name+" "+d.Kind)
			}
			if all := strings.Join(got, ", "); all != tt.want {
				t.Errorf("%s; want %s", all, tt.want)
			}
		})
	}
}

func TestDisksAreLimited(t *testing.T) {
	t.Parallel()
	var mounts strings.Builder
	for n := range 1000 {
		part := strings.Repeat("x", n+1)
		mounts.WriteString("30 1 8:2 / /" + part + " rw - ext4 /dev/" + part + " rw\n")
	}
	s := made(map[string]string{"proc/self/mountinfo": mounts.String()})
	asked := 0
	s.space = func(string) (int64, int64, error) { asked++; return 1, 1, nil }
	if got := s.disks(t.Context()); len(got) != wire.MaxDisks || asked != wire.MaxDisks {
		t.Errorf("%d disks, %d asked", len(got), asked)
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`/plain`: "/plain", `/a\040b`: "/a b", `\134\012`: "\\\n", `/a\04`: `/a\04`, `/a\999b`: `/a\999b`, `\`: `\`, `/東\040京`: "/東 京",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestReadIsLimited: a file that does not end is not read for ever.
func TestReadIsLimited(t *testing.T) {
	t.Parallel()
	s := made(map[string]string{"long": strings.Repeat("x", mostRead+5), "folder/file": ""})
	if n := len(s.read("long")); n != mostRead {
		t.Errorf("%d bytes are read, want %d", n, mostRead)
	}
	if got := slices.Concat([]byte(s.read("folder")), []byte(s.read("none"))); len(got) > 0 {
		t.Errorf("of nothing: %q", got)
	}
}
