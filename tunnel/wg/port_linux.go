package wg

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
)

// mostFiles bounds how many open files of this host are looked at.
const mostFiles = 200_000

// portHolder asks the kernel for the sockets, and the processes for whose they are. A process of
// another user is often not to be seen.
func portHolder(port int) string {
	sockets := boundTo(port)
	if len(sockets) == 0 {
		return anotherProgram
	}
	if name := processWith(sockets); name != "" {
		return name
	}
	if name := deviceOn(port); name != "" {
		return "the WireGuard interface " + name
	}
	id := strconv.FormatUint(uint64(sockets[0].UID), 10)
	if u, err := user.LookupId(id); err == nil {
		return "a program of user " + u.Username
	}
	return "a program of the user with id " + id
}

// boundTo returns the UDP sockets of this host that have a port, those that wait for anybody first.
func boundTo(port int) []*netlink.Socket {
	var bound []*netlink.Socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.SocketDiagUDP(family)
		if err != nil {
			continue
		}
		for _, s := range all {
			if int(s.ID.SourcePort) == port {
				bound = append(bound, s)
			}
		}
	}
	slices.SortStableFunc(bound, func(a, b *netlink.Socket) int { return int(a.ID.DestinationPort) - int(b.ID.DestinationPort) })
	return bound
}

// processWith names the process that has one of the sockets open, or none.
func processWith(sockets []*netlink.Socket) string {
	wanted := make(map[string]bool, len(sockets))
	for _, s := range sockets {
		wanted[fmt.Sprintf("socket:[%d]", s.INode)] = true
	}
	directories, err := filepath.Glob("/proc/[0-9]*/fd")
	if err != nil {
		return ""
	}
	seen := 0
	for _, dir := range directories {
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // of another user, or gone
		}
		for _, f := range files {
			if seen++; seen > mostFiles {
				return ""
			}
			if target, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && wanted[target] {
				return processName(filepath.Dir(dir))
			}
		}
	}
	return ""
}

// deviceOn names the WireGuard interface that has a UDP port, or none. That of the kernel belongs to
// no process.
func deviceOn(port int) string {
	client, err := wgctrl.New()
	if err != nil {
		return ""
	}
	defer client.Close()
	devices, err := client.Devices()
	if err != nil {
		return "" // this process may not ask
	}
	for _, d := range devices {
		if d.ListenPort == port {
			return d.Name
		}
	}
	return ""
}

// processName names the process that a directory is about, with its id.
func processName(dir string) string {
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		name = []byte("a program")
	}
	return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
}
