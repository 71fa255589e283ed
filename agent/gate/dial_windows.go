package gate

import (
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The control code SIO_TCP_INITIAL_RTO and two values of its parameters.
const (
	sioTCPInitialRTO    = 0x98000011
	unspecifiedRTT      = 0xffff
	noSynRetransmission = 0xfe
)

// initialRTO is TCP_INITIAL_RTO_PARAMETERS.
type initialRTO struct {
	rtt                uint16
	synRetransmissions uint8
	_                  uint8
}

// failFast makes a port that nobody listens on refuse at once. Without it Windows asks
// again for about two seconds, even on the loopback. A system that does not know the
// option is only slower.
func failFast(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, tcp) {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		p := initialRTO{rtt: unspecifiedRTT, synRetransmissions: noSynRetransmission}
		var returned uint32
		_ = windows.WSAIoctl(windows.Handle(fd), sioTCPInitialRTO,
			(*byte)(unsafe.Pointer(&p)), uint32(unsafe.Sizeof(p)), nil, 0, &returned, nil, 0)
	})
}
