package main

import (
	"errors"
	"net"

	"golang.org/x/sys/windows"
)

// pathMTU is the longest packet of the adapter that leads to where a socket is connected.
func pathMTU(conn *net.UDPConn) (int, error) { return interfaceMTU(conn) }

func isRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

func isUnreachable(err error) bool {
	return errors.Is(err, windows.WSAEHOSTUNREACH) || errors.Is(err, windows.WSAENETUNREACH)
}
