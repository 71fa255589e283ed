#!/bin/sh
# The first process of the virtual machine of run.sh: runs every test on the list, says how it
# went in one line that run.sh looks for, and switches the machine off.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/tmp
export BOREALIS_REQUIRE_NAMESPACES=1

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
ip link set lo up
for module in wireguard tun veth; do modprobe $module; done

result=passed
while read -r n name pattern; do
	echo "--- $name -test.run '$pattern' on $(cat /proc/sys/kernel/osrelease)"
	cd /tmp || exit
	if ! "/tests/$n" -test.run "$pattern" -test.v -test.timeout "${TEST_TIMEOUT:-240s}" </dev/null 2>&1; then
		result=failed
	fi
done </tests/list
[ -s /tests/list ] || result=failed
echo "BOREALIS RESULT: $result"
poweroff -f
