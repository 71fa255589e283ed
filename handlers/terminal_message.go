package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"borealis/tunnel"

	"github.com/coder/websocket"
)

const terminalProtocol = "terminal.borealis.v1"

// A terminalHello is the first message of a page on a terminal socket.
type terminalHello struct {
	Ticket   string `json:"ticket"`
	Tab      string `json:"tab"`      // the browser tab, as in Borealis-Tab
	Terminal string `json:"terminal"` // the terminal to go on with; "" = a new one
	Shell    string `json:"shell"`    // that a new one shall run: powershell, pwsh, cmd; "" = the device's own
	Offset   int64  `json:"offset"`   // of the first byte wanted; -1 = all that is still there
	Cols     int    `json:"cols"`
	Rows     int    `json:"rows"`
}

// A terminalOrder is any later text message of a page. Which fields count depends on
// the type; input comes in binary messages.
type terminalOrder struct {
	Type   string  `json:"type"`   // ack, resize, ping or keep_open
	Offset int64   `json:"offset"` // of ack: everything before it is on the screen
	Cols   int     `json:"cols"`
	Rows   int     `json:"rows"`
	Person bool    `json:"person"` // of resize: a person did it, and not the layout
	T      float64 `json:"t"`      // of ping: comes back in the pong
}

// The text messages to a page. Output goes in binary messages.
type (
	terminalStep struct {
		Type   string `json:"type"` // step: of the tunnel's coming up
		Step   string `json:"step"`
		Detail string `json:"detail"`
		Millis int64  `json:"ms"` // since the tunnel was requested
	}
	terminalWelcome struct {
		Type     string `json:"type"` // hello: output follows
		Terminal string `json:"terminal"`
		Offset   int64  `json:"offset"` // of the first byte that follows
		Lost     int64  `json:"lost"`   // bytes before it that were asked for and are gone
		Resumed  bool   `json:"resumed"`
		Window   int64  `json:"window"` // bytes that may be on their way without an ack
		Cols     int    `json:"cols"`
		Rows     int    `json:"rows"`
	}
	terminalWindow struct {
		Type   string `json:"type"` // window: it has changed
		Window int64  `json:"window"`
	}
	terminalPong struct {
		Type string  `json:"type"` // pong
		T    float64 `json:"t"`
	}
	terminalIdle struct {
		Type      string `json:"type"`      // idle: the tunnel stops soon, or does not any more
		Remaining int    `json:"remaining"` // seconds
	}
	terminalExit struct {
		Type   string `json:"type"`   // exit: the shell has ended
		Status int    `json:"status"` // -1 when a signal ended it
		// Refusal is why the device started none, or "".
		Refusal string `json:"refusal,omitempty"`
	}
	terminalEnded struct {
		Type   string `json:"type"` // ended: the tunnel has
		Reason string `json:"reason"`
	}
	terminalError struct {
		Type    string `json:"type"` // error: there is no terminal
		Code    code   `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
)

// Close codes of a terminal socket beyond the usual ones.
const closeSessionGone websocket.StatusCode = 4000

// A parting is how a socket ends: a last message, if there is one, and the close code.
type parting struct {
	message any
	code    websocket.StatusCode
	reason  string
}

func (p *parting) Error() string { return fmt.Sprintf("socket ends with %d %s", p.code, p.reason) }

// ended says that the tunnel has.
func ended(reason string) *parting {
	return &parting{message: terminalEnded{"ended", reason}, code: websocket.StatusNormalClosure}
}

// refused says why there is no terminal.
func refused(err error) *parting {
	p := problemOf(err)
	end := &parting{message: terminalError{"error", p.Code, p.Detail, p.Hint}, code: websocket.StatusNormalClosure}
	if p.Code == codeBadTicket || p.Code == codeMalformed {
		end.code, end.reason = websocket.StatusPolicyViolation, p.Detail
	}
	return end
}

// readTerminal reads a text message of a page, strictly.
func readTerminal(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(codeMalformed, "A message of the page is not as it should be.")
	}
	return nil
}

// errTooMuchInput cuts a page that sends faster than the shell reads for too long.
var errTooMuchInput = errors.New("more input than the shell takes")

// partingOf is how a socket ends after an error; nil when there is nobody to tell.
func partingOf(err error) *parting {
	if p, ok := errors.AsType[*parting](err); ok {
		return p
	}
	if _, ok := errors.AsType[*failure](err); ok {
		return refused(err)
	}
	switch {
	case errors.Is(err, tunnel.ErrUnknownDevice):
		return refused(refuse(codeUnknownDevice, "The device is not one of yours any more."))
	case errors.Is(err, errSessionGone):
		return &parting{code: closeSessionGone, reason: "the session has ended"}
	case errors.Is(err, errStopping):
		return &parting{code: websocket.StatusGoingAway, reason: "the engine is stopping"}
	case errors.Is(err, errTicketTwice), errors.Is(err, errTooMuchInput):
		return &parting{code: websocket.StatusPolicyViolation, reason: err.Error()}
	}
	return nil
}
