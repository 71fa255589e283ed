package wg

import (
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// segments cuts one packet of the stack, which may be a TCP segment far longer than the link
// takes, into packets that fit, and finishes their checksums.
type segments struct {
	packet  []byte // the whole packet, reused from one to the next
	headers int    // length of the IP and TCP headers; 0 when the packet goes as it is
	size    int    // payload bytes in each cut
	sent    int    // bytes of payload already cut off
	done    bool
}

// empty reports whether all of the packet was taken.
func (s *segments) empty() bool { return len(s.packet) == 0 || s.done }

// load takes over a copy of the packet.
func (s *segments) load(pkt *stack.PacketBuffer) {
	s.packet = s.packet[:0]
	for _, part := range pkt.AsSlices() {
		s.packet = append(s.packet, part...)
	}
	s.headers, s.sent, s.done = 0, 0, false
	if pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return
	}
	s.headers = len(pkt.NetworkHeader().Slice()) + len(pkt.TransportHeader().Slice())
	s.size = len(s.packet) - s.headers
	if gso := pkt.GSOOptions; gso.Type == stack.GSOTCPv4 && gso.MSS > 0 {
		s.size = int(gso.MSS)
	}
}

// next writes the next packet to buf and returns its length.
func (s *segments) next(buf []byte) int {
	if s.headers == 0 {
		s.done = true
		return copy(buf, s.packet)
	}
	left := len(s.packet) - s.headers - s.sent
	payload := min(s.size, left)
	from := s.headers + s.sent
	n := copy(buf, s.packet[:s.headers])
	n += copy(buf[n:], s.packet[from:from+payload])
	first, last := s.sent == 0, payload == left
	s.finish(buf[:n], first, last)
	s.sent += payload
	s.done = last
	return n
}

// finish makes the headers of one packet true for its share of the payload.
func (s *segments) finish(packet []byte, first, last bool) {
	ip := header.IPv4(packet)
	segment := header.TCP(packet[ip.HeaderLength():])
	if !first || !last {
		ip.SetTotalLength(uint16(len(packet)))                               //nolint:gosec // at most the MTU
		ip.SetID(ip.ID() + uint16(s.sent/s.size))                            //nolint:gosec // wraps by design
		segment.SetSequenceNumber(segment.SequenceNumber() + uint32(s.sent)) //nolint:gosec // wraps by design
		if !last {
			segment.SetFlags(uint8(segment.Flags() &^ (header.TCPFlagFin | header.TCPFlagPsh)))
		}
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(segment))) //nolint:gosec // at most the MTU
	sum = checksum.Checksum(segment.Payload(), sum)
	segment.SetChecksum(0)
	segment.SetChecksum(^segment.CalculateChecksum(sum))
}
