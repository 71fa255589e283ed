package main

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// pathMTU is the longest packet to where a socket is connected, as the kernel knows it.
func pathMTU(conn *net.UDPConn) (mtu int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		if mtu, asked = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU); asked != nil {
			mtu, asked = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU)
		}
	})
	if err = errors.Join(err, asked); err != nil {
		return interfaceMTU(conn)
	}
	return mtu, nil
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isUnreachable(err error) bool {
	return errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}
