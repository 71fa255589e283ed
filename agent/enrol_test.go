package agent_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// vpnClient is where an agent's keys are.
func vpnClient(data string) string {
	return filepath.Join(data, "Agent", "Borealis", "Certificates", "VPN_Client")
}

// codeFor returns a code for e.
func codeFor(e *engine) wire.Code {
	return wire.Code{Address: e.address, Pin: e.keys.Identity.Pin(), Secret: wire.NewSecret()}
}

// problem answers a request with an RFC 9457 document.
func problem(w http.ResponseWriter, status int, code, detail, hint string) {
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"type": "urn:borealis:problem:" + code, "title": "No", "status": status,
		"code": code, "detail": detail, "hint": hint,
	})
}

func TestEnrol(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	var asked wire.EnrolRequest
	var as keys.Pin
	yes := e.enrol
	e.enrol = func(w http.ResponseWriter, r *http.Request, q wire.EnrolRequest) {
		asked, as = q, keys.PinOfCertificate(r.TLS.PeerCertificates[0])
		yes(w, r, q)
	}
	data, code := t.TempDir(), codeFor(e)
	if _, err := agent.Open(agent.Config{Data: data}); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Fatalf("Open before enrolment: %v, want ErrNotEnrolled", err)
	}
	var pins []keys.Pin
	for range 2 { // Asking again is safe.
		answer, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: " " + code.String() + "\n", Hostname: "büro\x1b-7", Version: "1.2"})
		if err != nil {
			t.Fatal(err)
		}
		want := wire.EnrolResponse{DeviceID: "device-1", State: "active", Message: "Welcome."}
		if diff := cmp.Diff(want, answer); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if asked.Secret != code.Secret || asked.Hostname != "büro-7" || asked.OS == "" || asked.Arch == "" || asked.Version != "1.2" {
			t.Errorf("the agent asks with %+v", asked)
		}
		k, err := keys.OpenAgent(vpnClient(data))
		if err != nil {
			t.Fatal(err)
		}
		if k.Engine != code.Pin || k.Address != e.address || k.Identity.Pin() != as {
			t.Errorf("kept are engine %v at %s and identity %v, want %v, %s, %v", k.Engine, k.Address, k.Identity.Pin(), code.Pin, e.address, as)
		}
		pins = append(pins, as)
	}
	if pins[0] != pins[1] {
		t.Error("enrolling again changed the identity")
	}
}

func TestEnrolWithTheWrongEngine(t *testing.T) {
	t.Parallel()
	e, other := newEngine(t), newEngine(t)
	e.enrol = func(http.ResponseWriter, *http.Request, wire.EnrolRequest) { t.Error("the wrong engine was asked") }
	data, code := t.TempDir(), codeFor(e)
	code.Pin = other.keys.Identity.Pin()
	_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: code.String()})
	wrong, ok := errors.AsType[*agent.PinError](err)
	if !ok {
		t.Fatalf("enrolling: %v, want a PinError", err)
	}
	want := agent.PinError{Address: e.address, Want: other.keys.Identity.Pin(), Got: e.keys.Identity.Pin()}
	if diff := cmp.Diff(want, *wrong); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	for _, part := range []string{want.Want.String(), want.Got.String(), e.address} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	if strings.Contains(err.Error(), code.Secret) {
		t.Errorf("the error tells the secret: %v", err)
	}
	if _, err := keys.OpenAgent(vpnClient(data)); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Errorf("after the failure: %v, want ErrNotEnrolled", err)
	}
}

func TestEnrolRefused(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 1<<20)
	tests := []struct {
		name   string
		answer func(http.ResponseWriter)
		says   []string
		never  string
	}{
		{"a problem", func(w http.ResponseWriter) {
			problem(w, 403, "code_used", "The enrolment code has been used.", "Make a new one in the console.")
		}, []string{"403", "The enrolment code has been used. Make a new one in the console."}, ""},
		{"a problem with escapes", func(w http.ResponseWriter) {
			problem(w, 403, "x", "Red \x1b[31malert\u202e", "Now\r\n")
		}, []string{"Red [31malert Now"}, "\x1b"},
		{"a problem too large", func(w http.ResponseWriter) { problem(w, 500, "x", huge, "") }, []string{"500", "Internal Server Error"}, "xxx"},
		{"a web page", func(w http.ResponseWriter) { http.Error(w, "<h1>Bad gateway</h1>", http.StatusBadGateway) }, []string{"502", "Bad Gateway"}, "<h1>"},
		{"a redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, []string{"307"}, ""},
		{"nothing", func(http.ResponseWriter) {}, []string{"makes no sense"}, ""},
		{"another thing", func(w http.ResponseWriter) { io.WriteString(w, `{"device_id":"d","state":"active","admin":true}`) }, []string{"makes no sense"}, ""},
		{"far too much", func(w http.ResponseWriter) { io.WriteString(w, `{"device_id":"`+huge+`"}`) }, []string{"makes no sense"}, "xxx"},
	}
	for _, tt := range tests {
		e := newEngine(t)
		e.enrol = func(w http.ResponseWriter, _ *http.Request, _ wire.EnrolRequest) { tt.answer(w) }
		data := t.TempDir()
		_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String()})
		if err == nil {
			t.Errorf("%s: enrols", tt.name)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", tt.name, err, part)
			}
		}
		if tt.never != "" && strings.Contains(err.Error(), tt.never) {
			t.Errorf("%s: %.200q says %q", tt.name, err, tt.never)
		}
		if _, err := keys.OpenAgent(vpnClient(data)); !errors.Is(err, keys.ErrNotEnrolled) {
			t.Errorf("%s: afterwards: %v, want ErrNotEnrolled", tt.name, err)
		}
	}
	e := newEngine(t)
	e.enrol = func(w http.ResponseWriter, _ *http.Request, _ wire.EnrolRequest) {
		problem(w, 429, "too_many", "Slow down.", "Wait.")
	}
	_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: t.TempDir(), Code: codeFor(e).String()})
	refused, ok := errors.AsType[*agent.RefusedError](err)
	if !ok {
		t.Fatalf("enrolling: %v, want a RefusedError", err)
	}
	if diff := cmp.Diff(agent.RefusedError{Status: 429, Code: "too_many", Detail: "Slow down.", Hint: "Wait."}, *refused); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

func TestEnrolWithoutAnEngine(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.admit = func(keys.Pin) error { return errors.New("nobody") }
	_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: t.TempDir(), Code: codeFor(e).String()})
	if err == nil || !strings.Contains(err.Error(), "refuses this device's identity") {
		t.Errorf("refused in the handshake: %v", err)
	}
	code := codeFor(e)
	code.Address = "127.0.0.1:1"
	if _, err = agent.Enrol(t.Context(), agent.EnrolConfig{Data: t.TempDir(), Code: code.String()}); err == nil || !strings.Contains(err.Error(), "reach the engine") {
		t.Errorf("nobody listens: %v", err)
	}
	data := t.TempDir()
	if _, err = agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: "brl1.nonsense"}); err == nil || !strings.Contains(err.Error(), "enrolment code") {
		t.Errorf("a bad code: %v", err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("a bad code leaves %v, %v", left, err)
	}
}

func TestRunKeepsAwayFromTheWrongEngine(t *testing.T) {
	t.Parallel()
	e, other := newEngine(t), newEngine(t)
	data := t.TempDir()
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String()}); err != nil {
		t.Fatal(err)
	}
	if err := keys.SaveAgent(vpnClient(data), e.keys.Identity.Pin(), other.address); err != nil {
		t.Fatal(err)
	}
	d := &device{data: data, log: newJournal()}
	d.run(t)
	line := d.log.expect(t, "msg=agent_unreachable", "addr="+other.address)
	for _, pin := range []keys.Pin{e.keys.Identity.Pin(), other.keys.Identity.Pin()} {
		if !strings.Contains(line, pin.String()) {
			t.Errorf("%s does not name the pin %s", line, pin)
		}
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.Connected || !strings.Contains(s.LastError, other.keys.Identity.Pin().String()) {
		t.Errorf("status is %+v", s)
	}
	select {
	case c := <-other.channels:
		t.Errorf("the wrong engine heard %+v", c.hello)
	default:
	}
}

func TestRevokedDeviceIsToldSo(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	revoked := newEngine(t)
	revoked.admit = func(keys.Pin) error { return errors.New("revoked") }
	if err := keys.SaveAgent(vpnClient(d.data), revoked.keys.Identity.Pin(), revoked.address); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	d.log.expect(t, "msg=agent_unreachable", "addr="+revoked.address, "refuses this device's identity")
}

func TestOpenChecksTheLink(t *testing.T) {
	t.Parallel()
	for _, mode := range []wg.Mode{wg.Kernel, wg.TUN, "other"} {
		if _, err := agent.Open(agent.Config{Data: t.TempDir(), Link: mode}); err == nil || errors.Is(err, keys.ErrNotEnrolled) {
			t.Errorf("Open with link %q: %v", mode, err)
		}
	}
}
