package wg

import "golang.zx2c4.com/wireguard/wgctrl/wgtypes"

// Meddle changes the device of an interface in mode Netstack behind the interface's back.
func Meddle(i *Interface, config string) error { return i.table.(*ipcTable).dev.IpcSet(config) }

// Held tells what an interface's device has for a key and a port, and a peer's preshared key.
func Held(i *Interface, peer wgtypes.Key) (key wgtypes.Key, port int, psk wgtypes.Key, err error) {
	h, err := i.table.read()
	for _, p := range h.peers {
		if p.PublicKey == peer {
			psk = p.psk
		}
	}
	return h.key, h.port, psk, err
}
