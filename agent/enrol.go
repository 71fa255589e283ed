package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// enrolTimeout bounds a whole enrolment.
const enrolTimeout = 30 * time.Second

// EnrolConfig says how to enrol. Data and Code are needed.
type EnrolConfig struct {
	Data     string       // The data root, where the keys go.
	Code     string       // What the engine's console shows.
	Hostname string       // What to be called; "" is the device's own name.
	Version  string       // Of the program, told to the engine.
	Logger   *slog.Logger // nil is silent.
}

// Enrol makes this device known to the engine that the code names. The device's
// identity is made first, when there is none; the engine is remembered only when
// it agreed, and then takes the place of the one before. Asking again with the
// same keys is safe. A wrong engine is a [PinError] and gets nothing but this
// device's certificate; a refusal is a [RefusedError] with the engine's words.
func Enrol(ctx context.Context, c EnrolConfig) (wire.EnrolResponse, error) {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	code, err := wire.ParseCode(c.Code)
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	facts := gather(c.Hostname, c.Data)
	id, err := keys.OpenAgentIdentity(keysDir(c.Data), "Borealis agent "+facts.hostname)
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	body, err := wire.EnrolRequest{
		Secret: code.Secret, Hostname: facts.hostname, OS: facts.os, OSVersion: facts.osVersion,
		Arch: facts.arch, Version: clean(c.Version, maxName), Machine: facts.machine,
	}.Encode()
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	answer, err := ask(ctx, code, id, body)
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	if err := keys.SaveAgent(keysDir(c.Data), code.Pin, code.Address); err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	log.InfoContext(ctx, "agent_enrolled", "agent", answer.DeviceID, "addr", code.Address, "reason", answer.State)
	return answer, nil
}

// ask posts the request to the engine and reads its answer.
func ask(ctx context.Context, code wire.Code, id *keys.Identity, body []byte) (wire.EnrolResponse, error) {
	conn, err := dialTLS(ctx, wire.EnrolServerName, code.Address, id, []keys.Pin{code.Pin})
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	defer func() { _ = conn.Close() }()
	url := "https://" + wire.EnrolServerName + wire.PathEnrol
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, application/problem+json")
	response, err := oneConnection(conn).Do(r)
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("ask the engine: %w", understood(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return wire.EnrolResponse{}, refusal(response)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, wire.MaxMessage+1))
	if err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("read the engine's answer: %w", err)
	}
	answer, err := wire.DecodeEnrolResponse(b)
	if err != nil {
		return wire.EnrolResponse{}, errors.Join(errors.New("the engine's answer makes no sense: is it of another version?"), err)
	}
	return answer, nil
}
