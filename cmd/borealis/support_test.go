//go:build linux

package main

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/cmd/borealis/engine"
	"borealis/store"
)

// bundled unpacks a support bundle.
func bundled(t *testing.T, path string) map[string]string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	all := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(b)
	}
	return all
}

// TestSupportHoldsNoSecret plants secrets wherever text comes from, in every form, and looks
// for them in the bundle, and for all that the data root really has.
func TestSupportHoldsNoSecret(t *testing.T) {
	t.Parallel()
	data, dir := filepath.Join(t.TempDir(), "root"), t.TempDir()
	made := must(t, "init", "--data", data, "--json")
	secrets := privateKeys(t, data)
	secrets["password"] = []byte(strings.Split(strings.Split(made, `"password":"`)[1], `"`)[0])
	secrets["API token"] = []byte(strings.TrimSpace(must(t, "token", "new", "--operator", "admin", "--data", data)))
	r := serveRoot(t, data)
	code := strings.TrimSpace(must(t, "code", "new", "--data", data))
	secrets["enrolment code"] = []byte(code[strings.LastIndex(code, ".")+1:])
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	forms(secrets, "planted key", raw[:])
	secrets["planted word"] = []byte("hunter2-hunter2")
	secrets["planted tunnel token"] = []byte("eyJ0aGlzIjoiaXMgYSB0b2tlbiJ9")
	plant(t, data, secrets, code, raw)

	path := filepath.Join(dir, "support.zip")
	code2, _, text := call(t, "support", path, "--data", data, "--udp-port", fmt.Sprint(r.UDPPort))
	if code2 != exitDone {
		t.Fatal(text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	all := bundled(t, path)
	for name, secret := range secrets {
		for where, text := range all {
			if strings.Contains(text, string(secret)) {
				t.Errorf("%s is in %s", name, where)
			}
		}
	}
	for name, want := range map[string]string{
		"README.txt": "no key, password", "doctor.txt": "ok   engine", "doctor.json": `"TLS for agents"`, "about.json": `"go": "go1.`,
		"counts.json": `"agent_address": "127.0.0.1`, "audit.jsonl": `"kind":"operator_added"`, "network.txt": "WireGuard peers", "logs/engine.log": "engine_started",
	} {
		if !strings.Contains(all[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, all[name])
		}
	}
	if !strings.Contains(all["logs/engine.log"], "harmless=stays") || !strings.Contains(all["logs/engine.log"], "[removed]") || !strings.Contains(all["audit.jsonl"], "[removed]") {
		t.Error("what is harmless does not stay, or what was planted was not seen")
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, text := call(t, "support", path, "--data", data); code != exitFailed || !strings.Contains(text, "not overwritten") {
		t.Errorf("over another one: %d %s", code, text)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the bundle was changed: %v", err)
	}
}

// plant writes secrets into the log, into an older one, and into the audit trail.
func plant(t *testing.T, data string, secrets map[string][]byte, code string, raw [32]byte) {
	t.Helper()
	pem := "-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString(raw[:]) + "\n-----END PRIVATE KEY-----"
	lines := []string{
		"password=hunter2-hunter2 harmless=stays",
		`body="{\"psk\":\"hunter2-hunter2\"}"`,
		"Authorization: Bearer hunter2-hunter2",
		"token=v4.public.eyJ0aGlzIjoiaXMgYSB0b2tlbiJ9.c2lnbmF0dXJl",
		"agent enrols with " + code,
		"operator typed " + string(secrets["password"]) + " and " + string(secrets["API token"]),
		pem, fmt.Sprintf("%q", pem),
		"key " + base64.StdEncoding.EncodeToString(raw[:]) + " " + base64.RawURLEncoding.EncodeToString(raw[:]) + " " + hex.EncodeToString(raw[:]),
	}
	log := engine.Root(data).Log()
	for _, path := range []string{log, log + ".1"} {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err := engine.Root(data).With(t.Context(), func(s *store.Store) error {
		for _, line := range lines {
			if err := s.AddRecord(t.Context(), store.Record{Kind: "test", Target: line, Detail: line, Reason: line, Session: "hunter2-hunter2"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSupportOfNoEngine: what cannot be had stands in the bundle, which is there nevertheless.
func TestSupportOfNoEngine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "support.zip")
	must(t, "support", path, "--data", filepath.Join(t.TempDir(), "none"))
	all := bundled(t, path)
	if !strings.Contains(all["doctor.txt"], "there is no") || !strings.Contains(all["audit.jsonl"], "not to be had") || !strings.Contains(all["logs/engine.log"], "not to be had") {
		t.Errorf("%q", all)
	}
	if code, _, _ := call(t, "support", filepath.Join(t.TempDir(), "no", "folder", "x.zip")); code != exitFailed {
		t.Errorf("into a folder that is not there: %d", code)
	}
}
