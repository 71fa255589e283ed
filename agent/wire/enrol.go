package wire

import "fmt"

// EnrolRequest is the JSON body of the POST to [PathEnrol]. The device is known
// by the key of its TLS certificate; all that it says here is for people.
type EnrolRequest struct {
	Secret    string `json:"secret"`
	Hostname  string `json:"hostname"`
	OS        string `json:"os"` // windows, linux, …
	OSVersion string `json:"os_version"`
	Arch      string `json:"arch"`
	Version   string `json:"version"` // Of the agent.
	Machine   string `json:"machine"` // A hash that is the same for the same machine, or "".
}

// EnrolResponse answers an [EnrolRequest].
type EnrolResponse struct {
	DeviceID string `json:"device_id"`
	State    string `json:"state"`   // pending, active, …
	Message  string `json:"message"` // A sentence for the person who enrols, or "".
}

// Encode returns the JSON form of a valid request.
func (r EnrolRequest) Encode() ([]byte, error) { return encode(r, r.check) }

// DecodeEnrolRequest reads an agent's request, strictly.
func DecodeEnrolRequest(b []byte) (EnrolRequest, error) {
	var r EnrolRequest
	if err := decode(b, &r); err != nil {
		return EnrolRequest{}, err
	}
	if err := r.check(); err != nil {
		return EnrolRequest{}, err
	}
	return r, nil
}

// Encode returns the JSON form of a valid response.
func (r EnrolResponse) Encode() ([]byte, error) { return encode(r, r.check) }

// DecodeEnrolResponse reads an engine's response, strictly.
func DecodeEnrolResponse(b []byte) (EnrolResponse, error) {
	var r EnrolResponse
	if err := decode(b, &r); err != nil {
		return EnrolResponse{}, err
	}
	if err := r.check(); err != nil {
		return EnrolResponse{}, err
	}
	return r, nil
}

func (r EnrolRequest) check() error {
	if err := checkSecret(r.Secret); err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	var c checks
	c.text("hostname", r.Hostname, maxName)
	c.text("os", r.OS, maxName)
	c.text("os_version", r.OSVersion, maxName)
	c.text("arch", r.Arch, maxName)
	c.text("version", r.Version, maxName)
	c.text("machine", r.Machine, maxName)
	return c.err
}

func (r EnrolResponse) check() error {
	var c checks
	c.id("device_id", r.DeviceID)
	c.word("state", r.State)
	c.text("message", r.Message, maxSentence)
	return c.err
}
