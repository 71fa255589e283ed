package wg

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

var (
	from = netip.MustParseAddr("10.255.0.1")
	to   = netip.MustParseAddr("10.255.1.10")
)

// bigSegment is a TCP segment as the stack hands it out: headers set, checksums not.
func bigSegment(payload []byte, options int, mss uint16) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.IPv4MinimumSize + header.TCPMinimumSize + options,
		Payload:            buffer.MakeWithData(payload),
	})
	tcp := header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize + options))
	tcp.Encode(&header.TCPFields{
		SrcPort: 1, DstPort: 2, SeqNum: 0xfffffff0, AckNum: 7, WindowSize: 99,
		DataOffset: uint8(header.TCPMinimumSize + options),
		Flags:      header.TCPFlagAck | header.TCPFlagPsh | header.TCPFlagFin,
	})
	for n := range options {
		tcp[header.TCPMinimumSize+n] = header.TCPOptionNOP
	}
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	ip := header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize))
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(pkt.Size()), ID: 0xffff, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(to.As4()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	if mss > 0 {
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: mss}
	}
	return pkt
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		payload int
		options int
		mss     uint16
		want    []int // payload of each cut
	}{
		{"nothing but headers", 0, 12, 1368, []int{0}},
		{"one byte", 1, 0, 1380, []int{1}},
		{"without offload", 500, 0, 0, []int{500}},
		{"exactly one", 1368, 12, 1368, []int{1368}},
		{"one more", 1369, 12, 1368, []int{1368, 1}},
		{"three whole", 3000, 12, 1000, []int{1000, 1000, 1000}},
		{"odd sizes", 1000, 0, 333, []int{333, 333, 333, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			payload := make([]byte, c.payload)
			_, _ = rand.NewChaCha8([32]byte{}).Read(payload)
			pkt := bigSegment(payload, c.options, c.mss)
			defer pkt.DecRef()
			var s segments
			s.load(pkt)
			var sizes []int
			var whole []byte
			for !s.empty() {
				buf := make([]byte, 2000)
				packet := buf[:s.next(buf)]
				data := checkPacket(t, packet, len(whole), s.empty())
				sizes, whole = append(sizes, len(data)), append(whole, data...)
			}
			if diff := cmp.Diff(c.want, sizes); diff != "" {
				t.Errorf("sizes (-want +got):\n%s", diff)
			}
			if !bytes.Equal(whole, payload) {
				t.Error("the payload is not what it was")
			}
		})
	}
}

// checkPacket checks headers and checksums of one cut and returns its payload.
func checkPacket(t *testing.T, packet []byte, offset int, last bool) []byte {
	t.Helper()
	ip := header.IPv4(packet)
	if !ip.IsValid(len(packet)) || int(ip.TotalLength()) != len(packet) || !ip.IsChecksumValid() {
		t.Errorf("IP header at %d is wrong: %v", offset, ip)
	}
	tcp := header.TCP(ip.Payload())
	sum := checksum.Checksum(tcp.Payload(), 0)
	if !tcp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), sum, uint16(len(tcp.Payload()))) {
		t.Errorf("TCP checksum at %d is wrong", offset)
	}
	if want := 0xfffffff0 + uint32(offset); tcp.SequenceNumber() != want {
		t.Errorf("sequence number is %d, want %d", tcp.SequenceNumber(), want)
	}
	want := header.TCPFlagAck
	if last {
		want |= header.TCPFlagPsh | header.TCPFlagFin
	}
	if tcp.Flags() != want {
		t.Errorf("flags at %d are %s, want %s", offset, tcp.Flags(), want)
	}
	return tcp.Payload()
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	l := &stackLink{address: to.As4()}
	packet := func(protocol tcpip.TransportProtocolNumber, dst netip.Addr, payload ...byte) []byte {
		b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(payload))
		header.IPv4(b).Encode(&header.IPv4Fields{
			TotalLength: uint16(cap(b)), TTL: 1, Protocol: uint8(protocol),
			SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(dst.As4()),
		})
		return append(b, payload...)
	}
	for name, c := range map[string]struct {
		packet []byte
		want   bool
	}{
		"TCP":                   {packet(header.TCPProtocolNumber, to, make([]byte, 20)...), true},
		"unreachable":           {packet(header.ICMPv4ProtocolNumber, to, byte(header.ICMPv4DstUnreachable), 3), true},
		"ping":                  {packet(header.ICMPv4ProtocolNumber, to, byte(header.ICMPv4Echo), 0), false},
		"ICMP without a type":   {packet(header.ICMPv4ProtocolNumber, to), false},
		"UDP":                   {packet(header.UDPProtocolNumber, to, make([]byte, 8)...), true},
		"UDP to somebody else":  {packet(header.UDPProtocolNumber, from, make([]byte, 8)...), false},
		"SCTP":                  {packet(132, to, make([]byte, 20)...), false},
		"TCP to somebody else":  {packet(header.TCPProtocolNumber, from, make([]byte, 20)...), false},
		"TCP to all":            {packet(header.TCPProtocolNumber, netip.MustParseAddr("255.255.255.255"), 0), false},
		"IPv6":                  {append([]byte{6 << 4}, make([]byte, 60)...), false},
		"keepalive":             {nil, false},
		"shorter than a header": {packet(header.TCPProtocolNumber, to)[:19], false},
	} {
		if got := l.welcome(c.packet); got != c.want {
			t.Errorf("%s: welcome is %t, want %t", name, got, c.want)
		}
	}
}

// TestStackIsQuick checks what keystrokes depend on: nothing small is held back.
func TestStackIsQuick(t *testing.T) {
	t.Parallel()
	st, err := newStack()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Destroy()
	ep, failed := st.NewEndpoint(header.TCPProtocolNumber, header.IPv4ProtocolNumber, new(waiter.Queue))
	if failed != nil {
		t.Fatal(failed)
	}
	defer ep.Close()
	if ep.SocketOptions().GetDelayOption() {
		t.Error("Nagle's delay is on")
	}
	if !ep.SocketOptions().GetQuickAck() {
		t.Error("acknowledgements are delayed")
	}
	var sack tcpip.TCPSACKEnabled
	if failed := st.TransportProtocolOption(header.TCPProtocolNumber, &sack); failed != nil || !bool(sack) {
		t.Errorf("selective acknowledgements are %t, %v", sack, failed)
	}
}

// FuzzWrite gives the stack whatever a peer may send.
func FuzzWrite(f *testing.F) {
	pkt := bigSegment([]byte("hello"), 12, 0)
	var s segments
	s.load(pkt)
	buf := make([]byte, 2000)
	f.Add(buf[:s.next(buf)])
	pkt.DecRef()
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		st, err := newStack()
		if err != nil {
			t.Fatal(err)
		}
		l, err := attach(st, to, defaultMTU)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := l.Write([][]byte{packet, packet}, 0); n != 2 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
