package inventory

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"borealis/agent/wire"
)

// mostRead is how much is read of one file; the longest, of a machine with hundreds of
// processors, has less.
const mostRead = 4 << 20

// A system is a Linux system, as its files tell of it.
type system struct {
	files fs.FS                                           // From the root on.
	space func(path string) (size, free int64, err error) // Of the file system at a path.
}

// here is the one that this program runs on.
func here() system { return system{os.DirFS("/"), space} }

// gather asks the kernel's files.
func gather(ctx context.Context, i *wire.Inventory) { here().gather(ctx, i) }

// edition returns the distribution's name for itself.
func edition() string { return here().edition() }

// machineID is made when the system is installed.
func machineID() string { return here().machineID() }

// hardware tells adapters from what programs make of them.
func hardware(i net.Interface) bool {
	_, err := fs.Stat(here().files, "sys/class/net/"+i.Name+"/device")
	return err == nil
}

func (s system) gather(ctx context.Context, i *wire.Inventory) {
	i.Build = s.read("proc/sys/kernel/osrelease")
	i.CPU, i.Cores = s.processors()
	i.Memory = s.memory()
	i.LastUser = s.lastUser()
	i.Booted = s.booted()
	i.Disks = s.disks(ctx)
}

func (s system) edition() string {
	for _, path := range [...]string{"etc/os-release", "usr/lib/os-release"} {
		for line := range strings.Lines(s.read(path)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				return strings.Trim(v, `"'`)
			}
		}
	}
	return ""
}

func (s system) machineID() string {
	for _, path := range [...]string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		if id := s.read(path); id != "" {
			return id
		}
	}
	return ""
}

// processors returns the name of the first, or of the board on which it sits, and how
// many there are.
func (s system) processors() (name string, count int) {
	for line := range strings.Lines(s.read("proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			count++
		case "model name":
			name = strings.TrimSpace(value)
		}
	}
	if name == "" {
		name = s.read("proc/device-tree/model")
	}
	if count == 0 {
		count = runtime.NumCPU()
	}
	return name, count
}

// memory returns how many bytes of it the kernel can use, or 0.
func (s system) memory() int64 {
	for line := range strings.Lines(s.read("proc/meminfo")) {
		if v, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 48)
			return kib << 10
		}
	}
	return 0
}

// booted returns when the kernel started, or the zero time.
func (s system) booted() time.Time {
	for line := range strings.Lines(s.read("proc/stat")) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			if seconds, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil && seconds > 0 {
				return time.Unix(seconds, 0)
			}
		}
	}
	return time.Time{}
}

// lastUser returns who began the newest of the sessions that systemd knows. Whoever has
// signed out is forgotten there.
func (s system) lastUser() string {
	sessions, err := fs.ReadDir(s.files, "run/systemd/sessions")
	if err != nil {
		return ""
	}
	var user string
	var newest int64
	for _, entry := range sessions {
		session := map[string]string{}
		for line := range strings.Lines(s.read("run/systemd/sessions/" + entry.Name())) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				session[key] = value
			}
		}
		began, err := strconv.ParseInt(session["REALTIME"], 10, 64)
		if err == nil && session["CLASS"] == "user" && began > newest {
			user, newest = session["USER"], began
		}
	}
	return user
}

// read returns the text of a file, or "".
func (s system) read(path string) string {
	f, err := s.files.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, mostRead))
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), "\x00\n ")
}
