package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"borealis/agent/checkup"
)

// ownerOf is the user that a file belongs to.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

// roomAt is how many bytes an ordinary user may still write to the file system of a path.
func roomAt(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // a block has a size
}

// files looks how many connections the engine may have.
func (d *doctor) files(context.Context) checkup.Finding {
	const name = "open files"
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return judged(name, err, "")
	}
	whose, soft := "this user", own.Max // Go raises its own to that
	if n, err := filesOf(d.pid); d.held && d.pid > 0 && err == nil {
		whose, soft = "the engine", n
	}
	agents := (max(soft, filesReserve) - filesReserve) / 2
	if soft < wantedFiles {
		return unwell(name, "put the line LimitNOFILE=65536 below [Service] of the engine's unit, then systemctl daemon-reload and restart it", "%s may have %d files open, enough for about %d agents", whose, soft, agents)
	}
	return checkup.Well(name, "%s may have %d files open, enough for about %d agents", whose, soft, agents)
}

// filesOf reads how many files a process may have open.
func filesOf(pid int) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Max open files"); ok {
			soft, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.ParseUint(soft, 10, 64)
		}
	}
	return 0, errors.New("the limit is not there")
}

// linkModes looks what WireGuard can stand on here.
func (d *doctor) linkModes(context.Context) checkup.Finding {
	const name = "link"
	pid, whose := "self", "this user"
	if d.held && d.pid > 0 {
		pid, whose = strconv.Itoa(d.pid), "the engine"
	}
	mighty, err := hasNetAdmin(pid)
	if err != nil {
		return judged(name, err, "")
	}
	var has []string
	if _, err := os.Stat("/sys/module/wireguard"); err == nil {
		has = append(has, "the kernel's WireGuard")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		f.Close()
		has = append(has, "TUN devices")
	}
	link := "there is no borealis0"
	if i, err := net.InterfaceByName("borealis0"); err == nil {
		link = "borealis0 is " + i.Flags.String()
	}
	switch {
	case !mighty:
		return note(name, "give it CAP_NET_ADMIN, as etc/borealis.service does, if programs of this host are to use tunnels too", "%s may not change the network (no CAP_NET_ADMIN): tunnels live inside the engine (netstack)", whose)
	case len(has) == 0:
		return unwell(name, "load one: modprobe wireguard, or modprobe tun; or use --link netstack", "there is neither the kernel's WireGuard nor a TUN device")
	}
	return checkup.Well(name, "%s, and %s may use them; %s", strings.Join(has, " and "), whose, link)
}

// hasNetAdmin reports whether a process may change the network.
func hasNetAdmin(pid string) (bool, error) {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return false, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			all, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			return all&(1<<unix.CAP_NET_ADMIN) != 0, err
		}
	}
	return false, errors.New("the capabilities are not there")
}

// mtu looks at the links that lead out of this host.
func (d *doctor) mtu(context.Context) checkup.Finding {
	const name = "MTU"
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return judged(name, err, "")
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		if mtu := l.Attrs().MTU; mtu < goodMTU {
			return note(name, "large packets of tunnels go in two parts there: raise the MTU of the link if it can", "%s, the way out, takes packets of %d bytes, and tunnels make ones of %d", l.Attrs().Name, mtu, goodMTU)
		}
		return checkup.Well(name, "%s, the way out, takes packets of %d bytes", l.Attrs().Name, l.Attrs().MTU)
	}
	return note(name, "devices elsewhere reach this host only through one", "this host has no default route")
}
