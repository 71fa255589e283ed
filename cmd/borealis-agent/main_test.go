package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// say runs the program and returns what it prints.
func say(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != want {
		t.Fatalf("%v exits with %d, want %d: %s", args, code, want, errs.String())
	}
	return out.String(), errs.String()
}

// engine answers every enrolment with a state, and returns a code for itself.
func engine(t *testing.T, state string) (id *keys.Identity, code wire.Code) {
	t.Helper()
	return engineAt(t, state, 0)
}

// engineAt is an engine whose clock is ahead of this one.
func engineAt(t *testing.T, state string, ahead time.Duration) (id *keys.Identity, code wire.Code) {
	t.Helper()
	id, err := keys.NewIdentity("engine")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		if r.URL.Path == wire.PathTrial { // As an engine of an earlier version.
			http.NotFound(w, r)
			return
		}
		b, err := wire.EnrolResponse{DeviceID: "device-1", State: state}.Encode()
		if err != nil {
			t.Error(err)
		}
		w.Write(b)
	}))
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.TLS()}, ClientAuth: tls.RequireAnyClientCert,
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return id, wire.Code{Address: server.Listener.Addr().String(), Pin: id.Pin(), Secret: wire.NewSecret()}
}

// deviceOf is the identity of the agent with a data root.
func deviceOf(t *testing.T, data string) keys.Pin {
	t.Helper()
	k, err := keys.OpenAgent(filepath.Join(data, "Agent", "Borealis", "Certificates", "VPN_Client"))
	if err != nil {
		t.Fatal(err)
	}
	return k.Identity.Pin()
}

func TestEnrolShowsTheWordsToCompare(t *testing.T) {
	t.Parallel()
	for state, hint := range map[string]bool{"pending": true, "active": false} {
		_, code := engine(t, state)
		data := t.TempDir()
		out, _ := say(t, exitDone, "enrol", "--data", data, "--code", code.String())
		words := deviceOf(t, data).Words()
		if !strings.Contains(out, "device  device-1\nwords   "+words+"\nstate   "+state+"\n") {
			t.Errorf("%s: it prints\n%s, the words are %s", state, out, words)
		}
		if got := strings.Contains(out, "Compare the words with the console"); got != hint {
			t.Errorf("%s: it prints\n%s", state, out)
		}
		out, _ = say(t, exitDone, "enrol", "--json", "--data", data, "--code", code.String())
		var answer map[string]string
		if err := json.Unmarshal([]byte(out), &answer); err != nil || answer["device_id"] != "device-1" || answer["state"] != state || answer["words"] != words {
			t.Errorf("%s: it prints %s, %v", state, out, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	id, code := engine(t, "active")
	data := t.TempDir()
	if _, errs := say(t, exitFailed, "fingerprint", "--data", data); !strings.Contains(errs, "hint: enrol first") {
		t.Errorf("before enrolment it says %s", errs)
	}
	say(t, exitDone, "enrol", "--data", data, "--code", code.String())
	device := deviceOf(t, data)
	out, _ := say(t, exitDone, "fingerprint", "--data", data)
	want := "device  " + device.Words() + "\npin     " + device.String() + "\nengine  " + id.Pin().Words() + "\npin     " + id.Pin().String() + "\nat      " + code.Address + "\n"
	if out != want {
		t.Errorf("it prints\n%swant\n%s", out, want)
	}
	out, _ = say(t, exitDone, "fingerprint", "--json", "--data", data)
	var answer map[string]string
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer["pin"] != device.String() || answer["words"] != device.Words() ||
		answer["engine_pin"] != id.Pin().String() || answer["engine_words"] != id.Pin().Words() || answer["address"] != code.Address {
		t.Errorf("it prints %s, %v", out, err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"dance"}, {"enrol"}, {"fingerprint", "more"}, {"run", "--link", "kernel"}} {
		if _, errs := say(t, exitUsage, args...); !strings.HasSuffix(errs, "\n") || !strings.Contains(errs, "usage") {
			t.Errorf("%v says %q", args, errs)
		}
	}
	if out, _ := say(t, exitDone, "version"); !strings.HasPrefix(out, "borealis-agent ") {
		t.Errorf("the version is %q", out)
	}
	if _, errs := say(t, exitDone, "help"); !strings.Contains(errs, "fingerprint") {
		t.Errorf("the help is %q", errs)
	}
}
