package wg

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func TestParseDevice(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("ab", wgtypes.KeyLen)
	var parsed wgtypes.Key
	for n := range parsed {
		parsed[n] = 0xab
	}
	for _, c := range []struct {
		name, text string
		want       held
		bad        bool
	}{
		{name: "empty"},
		{name: "no peers", text: "private_key=" + key + "\nlisten_port=30000\nfwmark=1\n", want: held{key: parsed, port: 30000}},
		{
			name: "two peers", want: held{port: 1, peers: []heldPeer{
				{PeerState{
					PublicKey: parsed, Endpoint: netip.MustParseAddrPort("192.0.2.1:7"), LastHandshake: time.Unix(12, 34),
					ReceivedBytes: 5, SentBytes: 6, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")},
				}, parsed},
				{PeerState: PeerState{PublicKey: parsed}},
			}},
			text: "listen_port=1\npublic_key=" + key + "\npreshared_key=" + key + "\nprotocol_version=1\n" +
				"endpoint=[::ffff:192.0.2.1]:7\nlast_handshake_time_sec=12\nlast_handshake_time_nsec=34\n" +
				"tx_bytes=6\nrx_bytes=5\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.2/32\n" +
				"public_key=" + key + "\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n",
		},
		{name: "private key", text: "private_key=00\n", bad: true},
		{name: "port", text: "listen_port=none\n", bad: true},
		{name: "preshared key", text: "public_key=" + key + "\npreshared_key=00\n", bad: true},
		{name: "long key", text: "public_key=" + key + "ab\n", bad: true},
		{name: "short key", text: "public_key=ab\n", bad: true},
		{name: "key that is not hexadecimal", text: "public_key=" + strings.Repeat("xy", wgtypes.KeyLen) + "\n", bad: true},
		{name: "endpoint", text: "public_key=" + key + "\nendpoint=somewhere\n", bad: true},
		{name: "counter", text: "public_key=" + key + "\nrx_bytes=many\n", bad: true},
		{name: "address", text: "public_key=" + key + "\nallowed_ip=10.0.0.2\n", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseDevice(c.text)
			if (err != nil) != c.bad {
				t.Fatalf("error is %v", err)
			}
			if c.bad {
				return
			}
			same := cmp.Options{
				cmp.AllowUnexported(held{}, heldPeer{}),
				cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
			}
			if diff := cmp.Diff(c.want, got, same); diff != "" {
				t.Errorf("device (-want +got):\n%s", diff)
			}
		})
	}
}
