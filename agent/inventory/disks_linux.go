package inventory

import (
	"context"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"borealis/agent/wire"
)

// A mount is a line of /proc/self/mountinfo.
type mount struct {
	root, point  string // What of the file system is seen, and where.
	kind, source string
}

// disks are the file systems that lie on a disk of the device, each once, and in any case
// the root. The network's are not asked, nor are those of programs: their size is what
// somebody else says, when they answer at all.
func (s system) disks(ctx context.Context) []wire.Disk {
	var found []wire.Disk
	seen := make(map[string]bool)
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		m, ok := parseMount(line)
		if !ok || !m.counts() || seen[m.volume()] || seen["at "+m.point] {
			continue
		}
		if ctx.Err() != nil || len(found) == wire.MaxDisks {
			break
		}
		size, free, err := s.space(m.point)
		if err != nil || size <= 0 {
			continue
		}
		seen[m.volume()], seen["at "+m.point] = true, true
		found = append(found, wire.Disk{Name: m.point, Kind: m.kind, Size: size, Free: free})
	}
	return found
}

// counts reports whether the mount is a disk that keeps its content.
func (m mount) counts() bool {
	switch {
	case m.kind == "rootfs": // Under the one that was mounted over it.
		return false
	case m.point == "/":
		return true
	case strings.HasPrefix(m.kind, "fuse."), m.kind == "squashfs", m.kind == "iso9660", m.kind == "erofs":
		return false
	case m.kind == "zfs", m.kind == "btrfs":
		return true
	}
	// A part of a file system is a folder that is shown in a second place.
	return strings.HasPrefix(m.source, "/dev/") && m.root == "/"
}

// volume is what several mounts have in common when they share their room.
func (m mount) volume() string {
	if m.kind == "zfs" {
		pool, _, _ := strings.Cut(m.source, "/")
		return pool
	}
	return m.source
}

// parseMount reads the fields that are wanted, by proc_pid_mountinfo(5).
func parseMount(line string) (mount, bool) {
	front, back, ok := strings.Cut(line, " - ")
	before, after := strings.Fields(front), strings.Fields(back)
	if !ok || len(before) < 5 || len(after) < 2 {
		return mount{}, false
	}
	return mount{root: unescape(before[3]), point: unescape(before[4]), kind: after[0], source: unescape(after[1])}, true
}

// unescape undoes the kernel's octal \040 for what would end a field.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if len(after) >= 3 {
			if n, err := strconv.ParseUint(after[:3], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = after[3:]
				continue
			}
		}
		b.WriteByte('\\')
		s = after
	}
}

// space asks the kernel how large a file system is, and how much of it programs may fill.
func space(path string) (size, free int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	block := uint64(max(s.Frsize, 0)) // #nosec G115 -- not negative
	return bytes(s.Blocks * block), bytes(s.Bavail * block), nil
}
