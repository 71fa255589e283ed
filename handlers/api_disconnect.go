package handlers

import (
	"net/http"
	"strconv"

	"borealis/handlers/access"
)

// A disconnectRequest says what to leave, in the body of DELETE /api/tunnel/disconnect
// or in its query: a device's tunnel or a tunnel.
type disconnectRequest struct {
	DeviceID string `json:"device_id"`
	TunnelID string `json:"tunnel_id"`
	Force    bool   `json:"force"` // stop it for everyone
}

// A disconnectAnswer is how the tunnel is afterwards. It lives on when others use it.
type disconnectAnswer struct {
	TunnelID string `json:"tunnel_id"`
	State    string `json:"state"`
	Reason   string `json:"reason"` // why it ended; "" when it lives on
}

// apiDisconnect ends an operator's use of a tunnel; the last one out stops it.
func (s *Server) apiDisconnect(r *http.Request, p principal) (any, error) {
	q, err := disconnectOf(r)
	if err != nil {
		return nil, err
	}
	if q.Force {
		if err := p.need(access.ManageDevices); err != nil {
			return nil, err
		}
	}
	id := q.DeviceID
	if id != "" {
		_, err = s.device(r.Context(), p, id)
	} else {
		id = q.TunnelID
		err = s.hasTunnel(p, id)
	}
	if err != nil {
		return nil, err
	}
	st, err := s.config.Manager.Disconnect(r.Context(), id, p.requestHolder(r), q.Force)
	if err != nil {
		return nil, err
	}
	return disconnectAnswer{TunnelID: st.TunnelID, State: string(st.State), Reason: string(st.Reason)}, nil
}

// disconnectOf reads the request from the body, or from the query when there is no
// body: some proxies drop the body of a DELETE.
func disconnectOf(r *http.Request) (disconnectRequest, error) {
	var q disconnectRequest
	if r.ContentLength != 0 {
		if err := decode(r, &q); err != nil {
			return q, err
		}
	} else {
		query := r.URL.Query()
		q.DeviceID, q.TunnelID = query.Get("device_id"), query.Get("tunnel_id")
		if text := query.Get("force"); text != "" {
			force, err := strconv.ParseBool(text)
			if err != nil {
				return q, invalid("force", "The parameter force is neither true nor false.")
			}
			q.Force = force
		}
	}
	if (q.DeviceID == "") == (q.TunnelID == "") {
		return q, invalid("device_id", "Name either a device_id or a tunnel_id.")
	}
	return q, nil
}
