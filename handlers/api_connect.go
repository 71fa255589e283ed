package handlers

import (
	"net/http"
	"net/netip"

	"borealis/acl"
	"borealis/tunnel"
)

// A connectRequest is the body of POST /api/tunnel/connect.
type connectRequest struct {
	DeviceID string `json:"device_id"`
	New      bool   `json:"new"` // refuse with tunnel_active instead of joining a tunnel that is there
}

// A connectAnswer is a tunnel that was begun or joined. It is up once
// GET /api/tunnel/status says so.
type connectAnswer struct {
	TunnelID        string     `json:"tunnel_id"`
	Token           string     `json:"token"` // the signed token that the agent admits the tunnel by; it is of no use to anybody else
	VirtualIP       string     `json:"virtual_ip"`
	EngineIP        string     `json:"engine_ip"`
	Endpoint        string     `json:"endpoint"`          // host:port of the engine's WireGuard
	ServerPublicKey string     `json:"server_public_key"` // of the engine's WireGuard, in base64
	AllowedIPs      []string   `json:"allowed_ips"`       // what the agent may talk to: the engine's address and nothing else
	AllowedPorts    []acl.Port `json:"allowed_ports"`     // what the engine may reach on the device
	IdleSeconds     int        `json:"idle_seconds"`      // without operator activity, until the tunnel stops
	State           string     `json:"state"`
	Joined          bool       `json:"joined"` // the tunnel was there already
}

// apiConnect begins a tunnel to a device, or joins the one that is there.
func (s *Server) apiConnect(r *http.Request, p principal) (any, error) {
	var q connectRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.DeviceID == "" {
		return nil, invalid("device_id", "The field device_id is missing.")
	}
	if _, err := s.device(r.Context(), p, q.DeviceID); err != nil {
		return nil, err
	}
	st, err := s.config.Manager.Connect(r.Context(), q.DeviceID, p.requestHolder(r), tunnel.ConnectOptions{New: q.New})
	if err != nil {
		return nil, err
	}
	return connectAnswer{
		TunnelID: st.TunnelID, Token: st.Token,
		VirtualIP: addressText(st.VirtualIP), EngineIP: addressText(st.EngineIP),
		Endpoint: st.Endpoint, ServerPublicKey: st.ServerPublicKey,
		AllowedIPs:   []string{addressText(st.EngineIP) + "/32"},
		AllowedPorts: list(st.AllowedPorts),
		IdleSeconds:  seconds(st.Idle), State: string(st.State), Joined: st.Joined,
	}, nil
}

// addressText is an address as text; "" when there is none.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// list makes a missing list an empty one, which is [] in JSON and not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
