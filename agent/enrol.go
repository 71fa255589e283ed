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

// tellClock is the least difference of the clocks that is worth a word.
const tellClock = 5 * time.Minute

// ErrOtherEngine is returned by [Enrol] for a device that belongs to another engine already.
var ErrOtherEngine = errors.New("this device belongs to another engine already")

// EnrolConfig says how to enrol. Data and Code are needed.
type EnrolConfig struct {
	Data     string       // The data root, where the keys go.
	Code     string       // What the engine's console shows.
	Hostname string       // What to be called; "" is the device's own name.
	Version  string       // Of the program, told to the engine.
	Logger   *slog.Logger // nil is silent.

	// Replace takes the device away from the engine that it belongs to, and gives up keys that
	// cannot be opened any more. It gets a new identity; the one before is kept aside, in a
	// folder whose name ends in ".replaced-" and the time. The agent must not run meanwhile.
	Replace bool

	// Notice gets a sentence about what went well and should be looked at nevertheless; nil
	// ignores it.
	Notice func(sentence string)
}

// Enrol makes this device known to the engine that the code names. The device's
// identity is made first, when there is none; the engine is remembered only when
// it agreed. Asking again with the same keys is safe. The error is [ErrOtherEngine] for a
// device that belongs to another engine, unless that is to be replaced. A wrong engine is a
// [PinError] and gets nothing but this device's certificate; a refusal is a [RefusedError]
// with the engine's words. After an error the device belongs to whom it did before.
func Enrol(ctx context.Context, c EnrolConfig) (answer wire.EnrolResponse, err error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if answer, err = c.enrol(ctx); err != nil {
		return wire.EnrolResponse{}, fmt.Errorf("enrol: %w", err)
	}
	return answer, nil
}

// enrol is [Enrol].
func (c EnrolConfig) enrol(ctx context.Context) (_ wire.EnrolResponse, err error) {
	code, err := wire.ParseCode(c.Code)
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	dir := keysDir(c.Data)
	aside, restore, err := makeWay(dir, code, c.Replace)
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, restore())
		}
	}()
	if err := keys.CheckAgentDir(dir); err != nil { // Before the code is used up.
		return wire.EnrolResponse{}, storable(err)
	}
	facts := gather(c.Hostname, c.Data)
	id, err := keys.OpenAgentIdentity(dir, "Borealis agent "+facts.hostname)
	if err != nil {
		return wire.EnrolResponse{}, storable(err)
	}
	body, err := wire.EnrolRequest{
		Secret: code.Secret, Hostname: facts.hostname, OS: facts.os, OSVersion: facts.osVersion,
		Arch: facts.arch, Version: clean(c.Version, maxName), Machine: facts.machine,
	}.Encode()
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	answer, ahead, err := ask(ctx, code, id, body)
	if err != nil {
		return wire.EnrolResponse{}, err
	}
	if err := keys.SaveAgent(dir, code.Pin, code.Address); err != nil {
		return wire.EnrolResponse{}, storable(err)
	}
	if aside != "" {
		c.Notice("the identity that this device had before is kept in " + aside + "; delete it when nobody needs it")
	}
	if ahead.Abs() >= tellClock {
		c.Notice(clockSentence(ahead))
	}
	c.Logger.InfoContext(ctx, "agent_enrolled", "agent", answer.DeviceID, "addr", code.Address, "reason", answer.State, "clock_ahead", ahead)
	return answer, nil
}

// clockSentence says by how much this device's clock is ahead of the engine's, or behind it.
func clockSentence(ahead time.Duration) string {
	where := "ahead of"
	if ahead < 0 {
		where = "behind"
	}
	by := ahead.Abs().Round(time.Second).String()
	if days := ahead.Abs().Round(time.Hour) / (24 * time.Hour); days > 1 {
		by = fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("this device's clock is %s %s the engine's; Borealis works with that, but set it: its logs are hard to compare", by, where)
}

// ask posts the request to the engine and reads its answer, and how far this device's clock
// is ahead of the engine's.
func ask(ctx context.Context, code wire.Code, id *keys.Identity, body []byte) (_ wire.EnrolResponse, ahead time.Duration, err error) {
	conn, err := dialTLS(ctx, wire.EnrolServerName, code.Address, id, []keys.Pin{code.Pin})
	if err != nil {
		return wire.EnrolResponse{}, 0, err
	}
	defer func() { _ = conn.Close() }()
	url := "https://" + wire.EnrolServerName + wire.PathEnrol
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return wire.EnrolResponse{}, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, application/problem+json")
	response, err := oneConnection(conn).Do(r)
	if err != nil {
		return wire.EnrolResponse{}, 0, fmt.Errorf("ask the engine: %w", understood(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return wire.EnrolResponse{}, 0, refusal(response)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, wire.MaxMessage+1))
	if err != nil {
		return wire.EnrolResponse{}, 0, fmt.Errorf("read the engine's answer: %w", err)
	}
	answer, err := wire.DecodeEnrolResponse(b)
	if err != nil {
		return wire.EnrolResponse{}, 0, errors.Join(errors.New("the engine's answer makes no sense: is it of another version?"), err)
	}
	return answer, clockAhead(response), nil
}
