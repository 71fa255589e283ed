package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nfTables is the part of a netlink message's type that says nftables.
const nfTables = unix.NFNL_SUBSYS_NFTABLES << 8

// attributeType takes the flags off the type of a netlink attribute.
const attributeType = 0x3fff

// possible says why this process cannot change the packet filter, or returns nil.
func possible() error {
	_, err := generation()
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the kernel has no nf_tables (%w): %w", errors.ErrUnsupported, err)
	}
	return err
}

// generation returns the number of the kernel's rules: it grows with each change that anybody makes.
func generation() (uint32, error) {
	attributes, err := ask(nfTables|unix.NFT_MSG_GETGEN, nfTables|unix.NFT_MSG_NEWGEN, unix.NFPROTO_UNSPEC)
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of the rules: %w", err)
	}
	id := attributes[unix.NFTA_GEN_ID]
	if len(id) != 4 {
		return 0, errors.New("ask for the generation of the rules: the kernel's answer has none")
	}
	return binary.BigEndian.Uint32(id), nil
}

// dormant reports whether a family's table filter is switched off, which iptables does not show.
func (f family) dormant() (bool, error) {
	attributes, err := ask(nfTables|unix.NFT_MSG_GETTABLE, nfTables|unix.NFT_MSG_NEWTABLE, f.proto,
		nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated("filter")))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask for the table filter: %w", err)
	}
	flags := attributes[unix.NFTA_TABLE_FLAGS]
	return len(flags) == 4 && binary.BigEndian.Uint32(flags)&unix.NFT_TABLE_F_DORMANT != 0, nil
}

// ask sends one request to nftables and returns the attributes of its answer.
func ask(request int, answer uint16, proto byte, data ...nl.NetlinkRequestData) (map[uint16][]byte, error) {
	req := nl.NewNetlinkRequest(request, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: proto, Version: nl.NFNETLINK_V0})
	for _, d := range data {
		req.AddData(d)
	}
	messages, err := req.Execute(unix.NETLINK_NETFILTER, answer)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 || len(messages[0]) < nl.SizeofNfgenmsg {
		return nil, fmt.Errorf("%d answers, want one", len(messages))
	}
	list, err := nl.ParseRouteAttr(messages[0][nl.SizeofNfgenmsg:])
	if err != nil {
		return nil, err
	}
	attributes := make(map[uint16][]byte, len(list))
	for _, a := range list {
		attributes[a.Attr.Type&attributeType] = a.Value
	}
	return attributes, nil
}

// setFlags sets the flags of a family's table filter, which iptables cannot.
func (f family) setFlags(flags uint32) error {
	return f.command(unix.NFT_MSG_NEWTABLE, nl.NewRtAttr(unix.NFTA_TABLE_FLAGS, binary.BigEndian.AppendUint32(nil, flags)))
}

// command does one thing to a family's table filter.
func (f family) command(what int, attributes ...nl.NetlinkRequestData) error {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer s.Close()
	req := nl.NewNetlinkRequest(nfTables|what, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: f.proto, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated("filter")))
	for _, a := range attributes {
		req.AddData(a)
	}
	text := req.Serialize() //nolint:misspell // a name of netlink
	batch := slices.Concat(mark(unix.NFNL_MSG_BATCH_BEGIN), text, mark(unix.NFNL_MSG_BATCH_END))
	if err := unix.Sendto(s.GetFd(), batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("change the table filter: %w", err)
	}
	return nil
}

// mark is the begin or the end of a batch for nftables.
func mark(what int) []byte {
	req := nl.NewNetlinkRequest(what, 0)
	big := binary.BigEndian.AppendUint16(nil, unix.NFNL_SUBSYS_NFTABLES)
	req.AddData(&nl.Nfgenmsg{ResId: binary.NativeEndian.Uint16(big)})
	return req.Serialize() //nolint:misspell // a name of netlink
}
