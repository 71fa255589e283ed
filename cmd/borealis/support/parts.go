package support

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"

	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/engine"
	"borealis/store"
)

// A aboutAnswer is about.json.
type aboutAnswer struct {
	Version    string            `json:"version"`
	Build      map[string]string `json:"build"`
	Host       Host              `json:"host"`
	At         time.Time         `json:"at"`
	Goroutines int               `json:"goroutines"` // of the command, not of the engine
	HeapBytes  uint64            `json:"heap_bytes"`
	MaxProcs   int               `json:"max_procs"`
}

// aboutProgram says what runs where.
func aboutProgram(context.Context) ([]byte, error) {
	a := aboutAnswer{
		Version: engine.Version(), Build: make(map[string]string), Host: ThisHost(), At: time.Now().UTC(),
		Goroutines: runtime.NumGoroutine(), MaxProcs: runtime.GOMAXPROCS(0),
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	a.HeapBytes = m.HeapAlloc
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key != "-ldflags" { // what a builder writes there is nobody's business
				a.Build[s.Key] = s.Value
			}
		}
		for _, d := range info.Deps {
			a.Build["module "+d.Path] = d.Version
		}
	}
	return json.MarshalIndent(a, "", "  ")
}

// errNoStore is why a part is not in the bundle.
var errNoStore = errors.New("the database could not be opened; doctor.txt says why")

// A database is an engine's, which the doctor has looked at.
type database struct {
	root     engine.Root
	readable bool // it could be opened, and that changes nothing
}

// with opens the database once more, which the doctor has closed.
func (d database) with(ctx context.Context, do func(*store.Store) error) error {
	if !d.readable {
		return errNoStore
	}
	return d.root.With(ctx, do)
}

// counts says how much of what there is, and the settings that may be told.
func (d database) counts(ctx context.Context) (b []byte, err error) {
	err = d.with(ctx, func(db *store.Store) error {
		address, _ := db.Setting(ctx, engine.AddressSetting) // "" when the engine has not served yet
		all := map[string]any{"settings": map[string]string{engine.AddressSetting: address}}
		f, err := db.Figures(ctx)
		if err != nil {
			return err
		}
		all["devices"], all["records"], all["signed_records"] = f.Devices, f.Records, f.Signed
		for name, count := range map[string]func() (int, error){
			"operators":       func() (int, error) { v, err := db.Operators(ctx); return len(v), err },
			"api_tokens":      func() (int, error) { v, err := db.APITokens(ctx, ""); return len(v), err },
			"enrolment_codes": func() (int, error) { v, err := db.Codes(ctx); return len(v), err },
			"locks":           func() (int, error) { v, err := db.Locks(ctx, time.Now()); return len(v), err },
			"checkpoints":     func() (int, error) { v, err := db.Checkpoints(ctx); return len(v), err },
			"schema_version":  func() (int, error) { return db.SchemaVersion(ctx) },
			"sessions":        func() (int, error) { v, err := db.Standing(ctx, time.Now()); return len(v.Credentials), err },
		} {
			if all[name], err = count(); err != nil {
				return err
			}
		}
		b, err = json.MarshalIndent(all, "", "  ")
		return err
	})
	return b, err
}

// A recordLine is one line of audit.jsonl. It has no session, and of the hash as much as
// is needed to compare it.
type recordLine struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor,omitempty"`
	Source string    `json:"source,omitempty"`
	Kind   string    `json:"kind"`
	Device string    `json:"device_id,omitempty"`
	Tunnel string    `json:"tunnel_id,omitempty"`
	Target string    `json:"target,omitempty"`
	Result string    `json:"result,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Hash   string    `json:"hash"`
}

// records returns the newest lines of the audit trail, newest first.
func (d database) records(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	err := d.with(ctx, func(db *store.Store) error {
		all, err := db.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, Limit: maxRecords})
		if err != nil {
			return err
		}
		to := json.NewEncoder(&out)
		for _, r := range all {
			line := recordLine{r.Seq, r.At, r.Actor, r.Source, r.Kind, r.DeviceID, r.TunnelID, r.Target, r.Result, r.Reason, r.Detail, hex.EncodeToString(r.Hash[:6])}
			if err := to.Encode(line); err != nil {
				return err
			}
		}
		return nil
	})
	return out.Bytes(), err
}

// ourNetwork is what Borealis has in this host's network.
func ourNetwork(ctx context.Context) ([]byte, error) {
	var b strings.Builder
	part := func(title, text string, err error) {
		if err != nil {
			text = "not to be had: " + err.Error()
		} else if strings.TrimSpace(text) == "" {
			text = "nothing"
		}
		fmt.Fprintf(&b, "== %s\n%s\n\n", title, strings.TrimRight(text, "\n"))
	}
	part("rules of the packet filter", doctor.Rules(ctx), nil)
	for _, args := range [][]string{{"-d", "link", "show", "dev", "borealis0"}, {"addr", "show", "dev", "borealis0"}, {"route", "show", "dev", "borealis0"}} {
		text, err := doctor.Program(ctx, "ip", args...)
		part("ip "+strings.Join(args, " "), text, err)
	}
	text, err := ourPeers()
	part("WireGuard peers", text, err)
	return []byte(b.String()), nil
}

// ourPeers lists the peers of the interface without their keys.
func ourPeers() (string, error) {
	c, err := wgctrl.New()
	if err != nil {
		return "", err
	}
	defer c.Close()
	d, err := c.Device("borealis0")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s), UDP port %d, %d peers\n", d.Name, d.Type, d.ListenPort, len(d.Peers))
	for _, p := range d.Peers {
		fmt.Fprintf(&b, "peer %v endpoint %v handshake %s received %d sent %d\n", p.AllowedIPs, p.Endpoint, p.LastHandshakeTime.UTC().Format(time.RFC3339), p.ReceiveBytes, p.TransmitBytes)
	}
	return b.String(), nil
}
