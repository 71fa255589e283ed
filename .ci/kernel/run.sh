#!/bin/bash
# Runs test binaries on a Linux kernel that has WireGuard, whatever kernel this machine has:
# Debian's cloud kernel, booted by QEMU in pure emulation, with everything in one initramfs.
#
#   .ci/kernel/run.sh                          the kernel tests of tunnel/wg
#   .ci/kernel/run.sh 'BINARY REGEXP' ...      test binaries (go test -c) with the tests to run
#
# The tests run as root, in the order given, with BOREALIS_REQUIRE_NAMESPACES=1 set, so nothing is
# skipped in silence. Exit status: 0 all passed, 1 something failed or the machine did not boot,
# 2 this machine lacks a program or is no amd64.
#
# Environment: BOREALIS_KERNEL_CACHE  where the unpacked kernel is kept
#              BOREALIS_KERNEL_TIMEOUT  seconds for the whole run of the virtual machine, 300 by default
# Nothing is installed; missing programs are listed with their packages.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
limit=${BOREALIS_KERNEL_TIMEOUT:-300}

say() { echo "test-kernel: $*" >&2; }

check_tools() {
	if [ "$(uname -m)" != x86_64 ]; then
		say "this works on amd64 only"
		exit 2
	fi
	local missing=() pair
	for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static dash:dash cpio:cpio depmod:kmod \
		wg:wireguard-tools ip:iproute2 iptables:iptables apt-get:apt dpkg-deb:dpkg gzip:gzip; do
		PATH=$PATH:/sbin:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		say "programs are missing; install them with"
		say "  apt-get install --no-install-recommends ${missing[*]}"
		exit 2
	fi
}

# add copies programs into the initramfs, each with the libraries that it loads.
add() {
	local file
	for file in "$@"; do
		install -D "$(readlink -f "$file")" "$tree$file"
		add_libraries "$file"
	done
}

# add_libraries copies what a program loads; a static one loads nothing.
add_libraries() {
	local lib
	for lib in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true); do
		[ -e "$tree$lib" ] || install -D "$(readlink -f "$lib")" "$tree$lib"
	done
}

add_programs() {
	mkdir -p "$tree"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,var,etc,root,tests}
	ln -s ../run "$tree/var/run"
	install "$(command -v busybox)" "$tree/bin/busybox"
	local applet
	for applet in mount umount modprobe lsmod ls cat echo mkdir poweroff grep dmesg head tail true sleep rm ln chmod id ps kill; do
		ln -s busybox "$tree/bin/$applet"
	done
	# The kernel looks for modprobe in /sbin. A shell of busybox would prefer its own ip.
	ln -s ../bin/busybox "$tree/sbin/modprobe"
	add /bin/dash
	mv "$tree/bin/dash" "$tree/bin/sh"
	add "$(command -v wg)" "$(PATH=$PATH:/sbin:/usr/sbin command -v ip)" /usr/sbin/xtables-nft-multi
	local x
	for x in iptables ip6tables; do
		ln -s xtables-nft-multi "$tree/usr/sbin/$x"
		ln -s xtables-nft-multi "$tree/usr/sbin/$x-save"
		ln -s xtables-nft-multi "$tree/usr/sbin/$x-restore"
		ln -s xtables-nft-multi "$tree/usr/sbin/$x-nft"
		ln -s xtables-nft-multi "$tree/usr/sbin/$x-nft-restore"
		ln -s xtables-nft-multi "$tree/usr/sbin/$x-nft-save"
	done
	cp -r --parents /usr/lib/x86_64-linux-gnu/xtables "$tree"
	printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$tree/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
	printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
}

# add_modules takes what networks and WireGuard need; the kernel's other drivers stay out.
add_modules() {
	local release from to dir
	release=$(ls "$kernel/lib/modules")
	from=$kernel/lib/modules/$release to=$tree/lib/modules/$release
	for dir in lib crypto arch/x86/crypto net/ipv4 net/ipv6 net/netfilter net/core net/bridge net/sched \
		drivers/net/wireguard drivers/net/tun.ko drivers/net/veth.ko; do
		[ -e "$from/kernel/$dir" ] || continue
		mkdir -p "$(dirname "$to/kernel/$dir")"
		cp -r "$from/kernel/$dir" "$to/kernel/$dir"
	done
	cp "$from"/modules.{builtin,order,builtin.modinfo} "$to/"
	PATH=$PATH:/sbin:/usr/sbin depmod -b "$tree" "$release"
}

# add_tests copies the test binaries and writes the list that init works through.
add_tests() {
	local n=0 job binary
	: >"$tree/tests/list"
	for job in "$@"; do
		binary=${job%% *}
		n=$((n + 1))
		install "$binary" "$tree/tests/$n"
		add_libraries "$binary"
		echo "$n $(basename "$binary") ${job#* }" >>"$tree/tests/list"
	done
	install "$here/init.sh" "$tree/init"
}

boot() {
	# One processor: emulated ones wait for each other, and on a busy machine that takes seconds.
	timeout "$limit" qemu-system-x86_64 -accel tcg -cpu max -machine q35 -smp 1 -m 1024 \
		-nodefaults -no-user-config -display none -serial stdio -no-reboot \
		-kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd" \
		-append "console=ttyS0 quiet panic=-1" </dev/null | tr -d '\r' | tee "$work/serial" || true
}

check_tools
if [ $# -eq 0 ] && ! command -v go >/dev/null; then
	say "Go is missing, and no test binary was given"
	exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
if [ $# -eq 0 ]; then
	say "building the tests of tunnel/wg"
	(cd "$root" && CGO_ENABLED=0 go test -c -tags kernel -o "$work/wg.test" ./tunnel/wg)
	set -- "$work/wg.test ^TestKernel"
fi
for job in "$@"; do
	[ -x "${job%% *}" ] && [ "${job#* }" != "$job" ] || { say "want 'BINARY REGEXP', got '$job'"; exit 2; }
done
kernel=$("$here/fetch")
add_programs
add_modules
add_tests "$@"
(cd "$tree" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$work/initrd"
say "booting $(basename "$kernel") (initramfs of $(du -h "$work/initrd" | cut -f1))"
boot
if grep -qx 'BOREALIS RESULT: passed' "$work/serial"; then
	say "passed"
	exit 0
fi
say "failed"
exit 1
