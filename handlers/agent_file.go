package handlers

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"borealis/agent/wire"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel"
)

// agentFile sends an active device a file that the engine keeps for its agents, by its
// hash: another version of the agent, or the driver for its Windows.
func (s *Server) agentFile(w http.ResponseWriter, r *http.Request) {
	if err := s.sendAgentFile(w, r); err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) sendAgentFile(w http.ResponseWriter, r *http.Request) error {
	d, err := s.agentDevice(r.Context(), r.TLS)
	if err != nil {
		return err
	}
	if d.State != store.Active {
		return tunnel.ErrPending
	}
	body, f, err := s.fileBySHA256(strings.TrimPrefix(r.URL.Path, wire.PathFile))
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(codeNotFound, "The engine keeps no file with this hash, or not any more.")
	}
	if err != nil {
		return err
	}
	defer body.Close()
	leave, err := s.agentDownloads.enter(d.ID)
	if err != nil {
		return err
	}
	defer leave()
	return sendFile(w, r, body, f)
}

// fileBySHA256 opens what the engine keeps for agents. The caller closes it.
func (s *Server) fileBySHA256(sum string) (io.ReadSeekCloser, downloads.File, error) {
	if f, ok := s.config.Downloads.BySHA256(sum); ok {
		return s.config.Downloads.Open(f.Name)
	}
	return s.config.Drivers.OpenSHA256(sum)
}
