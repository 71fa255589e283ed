package handlers

import (
	"errors"
	"net/http"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel"
)

// trialRetry is what a device is told that tries its path too often.
const trialRetry = 5 * time.Second

// agentTrial lets an active device find out whether its WireGuard handshake reaches the engine,
// and the answer the device. Who the device is, only its TLS certificate says.
func (s *Server) agentTrial(w http.ResponseWriter, r *http.Request) {
	trial, err := s.tryPath(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := trial.Encode()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the agent went away: its trial ends by itself
}

func (s *Server) tryPath(w http.ResponseWriter, r *http.Request) (wire.Trial, error) {
	d, err := s.agentDevice(r.Context(), r.TLS)
	if err != nil {
		return wire.Trial{}, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return wire.Trial{}, err
	}
	q, err := wire.DecodeTrialRequest(body)
	if err != nil {
		return wire.Trial{}, refuse(codeInvalid, "The request to try the path is not valid: %s.", clean(err.Error(), 200))
	}
	trial, err := s.config.Manager.TryPath(r.Context(), d.ID, q)
	switch {
	case errors.Is(err, tunnel.ErrTrying):
		f := refuse(codeTooMany, "%s.", sentence(err.Error()))
		f.retry = trialRetry
		return wire.Trial{}, f
	case errors.Is(err, tunnel.ErrNoTrial):
		return wire.Trial{}, refuse(codeNotFound, "%s.", sentence(err.Error()))
	}
	return trial, err
}
