package handlers

import (
	"net/http"
	"time"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel"
)

// A statusAnswer is how a device's tunnel is: the live one, else the last one.
// Text that is not known is "", and a time that has not come is null.
type statusAnswer struct {
	DeviceID      string           `json:"device_id"`
	TunnelID      string           `json:"tunnel_id"` // "" when the device never had one
	State         string           `json:"state"`     // down requested offered ready peered up closing ended
	Up            bool             `json:"up"`        // proven by a handshake and the shell's answer
	Reason        string           `json:"reason"`    // why it ended
	VirtualIP     string           `json:"virtual_ip"`
	Operators     []attachedAnswer `json:"connected_operators"`
	OperatorCount int              `json:"operator_count"`
	LastHandshake *time.Time       `json:"last_handshake"`
	ReceivedBytes int64            `json:"rx_bytes"` // from the device
	SentBytes     int64            `json:"tx_bytes"` // to the device
	IdleRemaining int              `json:"idle_remaining"`
	IdleSeconds   int              `json:"idle_seconds"`
	RequestedAt   *time.Time       `json:"requested_at"`
	UpAt          *time.Time       `json:"up_at"`
	EndedAt       *time.Time       `json:"ended_at"`
	LinkMode      string           `json:"link_mode"`     // how the engine does WireGuard: kernel, tun or netstack
	AllowedPorts  []acl.Port       `json:"allowed_ports"` // what the engine may reach, or could if there were a tunnel
	Timeline      []stepAnswer     `json:"timeline"`
}

// An attachedAnswer is one use of a tunnel.
type attachedAnswer struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
	Kind  string    `json:"kind"` // console, terminal or api
}

// A stepAnswer is one step of a tunnel's life.
type stepAnswer struct {
	Step   string    `json:"step"`
	At     time.Time `json:"at"`
	Millis int64     `json:"ms"` // since the tunnel was requested
	Detail string    `json:"detail"`
}

// apiStatus tells how a device's tunnel is. Asking does not keep it open.
func (s *Server) apiStatus(r *http.Request, p principal) (any, error) {
	id := r.URL.Query().Get("device_id")
	if id == "" {
		return nil, invalid("device_id", "The parameter device_id is missing.")
	}
	st, err := s.status(r.Context(), p, id)
	if err != nil {
		return nil, err
	}
	return answerStatus(st), nil
}

func answerStatus(st tunnel.Status) statusAnswer {
	a := statusAnswer{
		DeviceID: st.DeviceID, TunnelID: st.TunnelID, State: string(st.State), Up: st.Up(), Reason: string(st.Reason),
		VirtualIP: addressText(st.VirtualIP), Operators: []attachedAnswer{}, OperatorCount: len(st.Operators),
		LastHandshake: moment(st.LastHandshake), ReceivedBytes: st.ReceivedBytes, SentBytes: st.SentBytes,
		IdleRemaining: seconds(st.IdleRemaining), IdleSeconds: seconds(st.Idle),
		RequestedAt: moment(st.RequestedAt), UpAt: moment(st.UpAt), EndedAt: moment(st.EndedAt),
		LinkMode: string(st.Mode), AllowedPorts: list(st.AllowedPorts), Timeline: timeline(st.RequestedAt, st.Timeline),
	}
	for _, o := range st.Operators {
		a.Operators = append(a.Operators, attachedAnswer{Name: o.Name, Since: o.Since.UTC(), Kind: o.Kind})
	}
	return a
}

func timeline(from time.Time, steps []store.Step) []stepAnswer {
	answer := []stepAnswer{}
	for _, step := range steps {
		answer = append(answer, stepAnswer{
			Step: step.Name, At: step.At.UTC(), Millis: millisSince(from, step.At), Detail: step.Detail,
		})
	}
	return answer
}

func millisSince(from, at time.Time) int64 { return max(0, at.Sub(from).Milliseconds()) }

// moment is a time in an answer; nil, which is null in JSON, when it has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// seconds rounds up, so that a time that is not over is never zero.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
