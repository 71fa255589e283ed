package handlers

import (
	"errors"
	"net/http"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

const (
	maxHostname = 253 // characters
	maxFact     = 100 // characters of what a device says about itself
)

// enrolmentRefused is the kind of record, and of log line, of a code that was not good.
const enrolmentRefused = "enrolment_refused"

// agentEnrol makes a device of a machine that has an enrolment code. The key that it
// proved to hold in the TLS handshake becomes its identity.
func (s *Server) agentEnrol(w http.ResponseWriter, r *http.Request) {
	answer, err := s.enrolDevice(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := answer.Encode()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the agent went away: it asks again
}

func (s *Server) enrolDevice(w http.ResponseWriter, r *http.Request) (wire.EnrolResponse, error) {
	pin, err := agentKey(r.TLS)
	if err != nil {
		return wire.EnrolResponse{}, refuse(codeUnauthenticated, "%s.", sentence(err.Error()))
	}
	from := source(r)
	if wait := s.enrolments.wait(from); wait > 0 {
		f := refuse(codeTooMany, "Too many wrong enrolment codes came from %s.", address(r))
		f.retry = wait
		return wire.EnrolResponse{}, f
	}
	if s.wrongCodes.spent() {
		f := refuse(codeTooMany, "Too many wrong enrolment codes were tried on this engine. Enrolment rests.")
		f.retry = time.Minute
		return wire.EnrolResponse{}, f
	}
	body, err := readBody(w, r)
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	q, err := wire.DecodeEnrolRequest(body)
	if err != nil {
		return wire.EnrolResponse{}, refuse(codeInvalid, "The request to enrol is not valid: %s.", clean(err.Error(), 200))
	}
	d, err := s.config.Store.RedeemCode(r.Context(), HashSecret(q.Secret), store.Device{
		Hostname: clean(q.Hostname, maxHostname), OS: clean(q.OS, maxFact), OSVersion: clean(q.OSVersion, maxFact),
		Arch: clean(q.Arch, maxFact), AgentVersion: clean(q.Version, maxFact), Machine: clean(q.Machine, maxFact), Pin: pin.String(),
	}, time.Now(), store.Record{Source: address(r)})
	if errors.Is(err, store.ErrCode) || errors.Is(err, store.ErrCodeExpired) || errors.Is(err, store.ErrCodeUsed) {
		s.enrolments.charge(from)
		s.wrongCodes.spend()
		s.log.WarnContext(r.Context(), enrolmentRefused, "addr", address(r), "err", err)
		s.recordRefusal(r.Context(), store.Record{Kind: enrolmentRefused, Source: address(r), Reason: string(failureOf(err).code)})
	}
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	s.config.Manager.Changed(d.ID) // pages show who waits
	return s.enrolled(d)
}

// enrolled says what happens next with a device.
func (s *Server) enrolled(d store.Device) (wire.EnrolResponse, error) {
	answer := wire.EnrolResponse{DeviceID: d.ID, State: d.State}
	switch d.State {
	case store.Active:
		answer.Message = "Enrolled. The device can be used as soon as its agent runs."
	case store.Pending:
		answer.Message = "Enrolled. An operator has to compare the words of its key and approve the device before it can be used."
		if d.Replaces != "" {
			answer.Message = "Enrolled. This machine is known already with another key: an operator has to decide before the device can be used."
		}
	case store.Quarantined:
		return answer, refuse(codeRevoked, "This device was set aside. An administrator has to approve it again.")
	default:
		return answer, refuse(codeRevoked, "This device's key is %s for good. Uninstall the agent and enrol the machine anew, with a new key.", d.State)
	}
	return answer, nil
}
