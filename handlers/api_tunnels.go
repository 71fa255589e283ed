package handlers

import "net/http"

// A tunnelsAnswer lists the tunnels that have not ended, oldest first.
type tunnelsAnswer struct {
	Tunnels []statusAnswer `json:"tunnels"`
	Total   int            `json:"total"`
	Link    linkAnswer     `json:"link"`
}

// A linkAnswer is the engine's end of all tunnels.
type linkAnswer struct {
	Mode    string `json:"mode"` // kernel, tun or netstack
	Reason  string `json:"reason"`
	Name    string `json:"name"`
	UDPPort int    `json:"udp_port"`
	Error   string `json:"error"` // why there can be no tunnels; "" when there can
}

// apiTunnels lists the live tunnels.
func (s *Server) apiTunnels(_ *http.Request, p principal) (any, error) {
	link := s.config.Manager.Link()
	a := tunnelsAnswer{
		Tunnels: []statusAnswer{},
		Link:    linkAnswer{Mode: string(link.Mode), Reason: link.Reason, Name: link.Name, UDPPort: link.Port},
	}
	if link.Err != nil {
		a.Link.Error = link.Err.Error()
	}
	for _, st := range s.tunnels(p) {
		a.Tunnels = append(a.Tunnels, answerStatus(st))
	}
	a.Total = len(a.Tunnels)
	return a, nil
}
