package netfilter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"
)

// timeLimit is how long one program may take; 5,000 devices take a second.
const timeLimit = 20 * time.Second

// family is IPv4 or IPv6 with the programs that read and change its rules.
type family struct {
	name    string // ip or ip6, as nftables says
	proto   byte   // the same as a number
	list    *iptables.IPTables
	restore string
	save    string
}

// families looks for the programs of both families in a search path and the places where they
// usually are. IPv6 is left out when the kernel has none: then there is nothing to keep out.
func families(ctx context.Context, path string) ([]family, error) {
	ip4, err := findFamily(ctx, path, "iptables")
	if err != nil {
		return nil, err
	}
	ip4.name, ip4.proto = "ip", unix.NFPROTO_IPV4
	if !hasIPv6() {
		return []family{ip4}, nil
	}
	ip6, err := findFamily(ctx, path, "ip6tables")
	if err != nil {
		return nil, err
	}
	ip6.name, ip6.proto = "ip6", unix.NFPROTO_IPV6
	return []family{ip4, ip6}, nil
}

// hasIPv6 reports whether the kernel has IPv6. A process that is kept away from it may miss one of
// the two signs, so both must be missing.
func hasIPv6() bool {
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		return true
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return !errors.Is(err, unix.EAFNOSUPPORT)
}

// findFamily takes the program whose name says nft, or else one whose version does.
func findFamily(ctx context.Context, path, name string) (family, error) {
	legacy := ""
	for _, candidate := range []string{name + "-nft", name} {
		program := find(path, candidate)
		if program == "" {
			continue
		}
		version, err := versionOf(ctx, program)
		if err != nil {
			return family{}, err
		}
		if !strings.Contains(version, "nf_tables") {
			legacy = fmt.Sprintf("%s is %q", program, version)
			continue
		}
		return withRestore(path, candidate, program)
	}
	if legacy != "" {
		return family{}, fmt.Errorf("%w: %s; install %s with the nf_tables backend, 1.8 or newer, "+
			"and choose it (on Debian: update-alternatives --set %s /usr/sbin/%s-nft)", ErrLegacy, legacy, name, name, name)
	}
	return family{}, fmt.Errorf("%w: there is no %s-nft; install the package iptables", ErrNoIPTables, name)
}

// withRestore adds the programs that belong to one.
func withRestore(path, name, program string) (family, error) {
	f := family{restore: find(path, name+"-restore"), save: find(path, name+"-save")}
	if f.restore == "" || f.save == "" {
		return f, fmt.Errorf("%w: there is %s but not %s-restore and %s-save; install the whole package iptables",
			ErrNoIPTables, program, name, name)
	}
	protocol := iptables.ProtocolIPv4
	if strings.HasPrefix(name, "ip6") {
		protocol = iptables.ProtocolIPv6
	}
	var err error
	if f.list, err = iptables.New(iptables.IPFamily(protocol), iptables.Path(program)); err != nil {
		return f, fmt.Errorf("look at %s: %w", program, err)
	}
	return f, nil
}

// find returns where a program is, or nothing. Services often run without /usr/sbin in their path.
func find(path, name string) string {
	dirs := slices.Concat(filepath.SplitList(path), []string{"/usr/sbin", "/sbin"})
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

func versionOf(ctx context.Context, program string) (string, error) {
	out, err := run(ctx, "", program, "--version")
	return strings.TrimSpace(string(out)), err
}

// run runs a program to its end, or until the context ends or the time is up, and returns what
// it wrote. The program dies with this process, so that none goes on for an engine that is gone.
func run(ctx context.Context, input, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	// The kernel counts the thread that started a child as its parent, so keep that one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // only programs that find found
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	if err := cmd.Run(); err != nil {
		err = cmp.Or(context.Cause(ctx), err)
		if text, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n"); text != "" {
			err = fmt.Errorf("%w: %.300s", err, text)
		}
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return out.Bytes(), nil
}

// read returns what the kernel's table filter of this family holds.
func (f family) read(ctx context.Context) (table, error) {
	text, err := run(ctx, "", f.save, "-t", "filter")
	if err != nil {
		return nil, err
	}
	return parseTable(text)
}

// send has the kernel take a batch whole or not at all. Only where the kernel does not let this
// process send so much at once, it is sent in parts, each of them whole or not at all. Once begun it
// is not interrupted by the end of the context, because nobody could say then what came of it.
func (f family) send(ctx context.Context, b *batch) error {
	text := b.text()
	if err := ctx.Err(); err != nil || text == "" {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	err := f.sendText(ctx, text)
	// The words of EMSGSIZE in the usual C libraries: message too long, message too large.
	if err == nil || !strings.Contains(err.Error(), "Message too l") {
		return err
	}
	for _, part := range b.parts(maxPart) {
		if err := f.sendText(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (f family) sendText(ctx context.Context, text string) error {
	_, err := run(ctx, text, f.restore, "--noflush", "--wait")
	return err
}
