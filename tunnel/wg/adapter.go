package wg

import (
	"errors"
	"log/slog"
)

// ErrAdapterInUse is returned by [Open] in mode NT while another interface stands on the adapter.
var ErrAdapterInUse = errors.New("another interface stands on the adapter")

// AdapterConfig says which adapter [OpenAdapter] makes. Only DLL is needed.
type AdapterConfig struct {
	DLL    string       // full path of wireguard.dll; the caller has made sure that it is genuine
	Name   string       // what people see in the list of adapters; "" means Borealis
	Logger *slog.Logger // gets what the driver says too; nil means silence
}
