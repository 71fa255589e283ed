package wire

// PathTrial is where an agent's doctor asks for a [Trial], by POST with a [TrialRequest], and how
// it ended for the engine, by POST of the same request again with Done set.
const PathTrial = "/agent/trial"

// A TrialRequest asks the engine to take one WireGuard handshake of a key, for a few seconds, from a
// device that has no tunnel. Nothing but the handshake passes: the engine's peer has no
// allowed addresses.
type TrialRequest struct {
	Key     string `json:"key"`     // The public WireGuard key that the device will use, base64.
	Dialled string `json:"dialled"` // The engine's host:port as the device dialled it.
	Done    bool   `json:"done"`    // The trial is over: how was it?
}

// A Trial says where the handshake is expected, or, when it is over, what was seen.
type Trial struct {
	Endpoint  string `json:"endpoint"`   // host:port of the engine's WireGuard, UDP.
	ServerKey string `json:"server_key"` // The engine's public WireGuard key, base64.
	Seconds   int    `json:"seconds"`    // How long it is expected.
	Heard     bool   `json:"heard"`      // A packet of the device has come, so the way out is open.
}

// TrialLongest is how long, in seconds, an engine expects the handshake of a [TrialRequest] at most.
const TrialLongest = 60

// Encode returns the JSON form of a valid request.
func (r TrialRequest) Encode() ([]byte, error) { return encode(r, r.check) }

// DecodeTrialRequest reads an agent's request, strictly.
func DecodeTrialRequest(b []byte) (TrialRequest, error) {
	var r TrialRequest
	if err := decode(b, &r); err != nil {
		return TrialRequest{}, err
	}
	if err := r.check(); err != nil {
		return TrialRequest{}, err
	}
	return r, nil
}

// Encode returns the JSON form of a valid answer.
func (t Trial) Encode() ([]byte, error) { return encode(t, t.check) }

// DecodeTrial reads an engine's answer, strictly.
func DecodeTrial(b []byte) (Trial, error) {
	var t Trial
	if err := decode(b, &t); err != nil {
		return Trial{}, err
	}
	if err := t.check(); err != nil {
		return Trial{}, err
	}
	return t, nil
}

func (r TrialRequest) check() error {
	var c checks
	c.key("key", r.Key)
	c.text("dialled", r.Dialled, maxName)
	return c.err
}

func (t Trial) check() error {
	var c checks
	if t.Endpoint == "" {
		c.fail("endpoint", "empty")
	}
	c.text("endpoint", t.Endpoint, maxName)
	c.key("server_key", t.ServerKey)
	if t.Seconds < 0 || t.Seconds > TrialLongest {
		c.fail("seconds", "out of range")
	}
	return c.err
}
