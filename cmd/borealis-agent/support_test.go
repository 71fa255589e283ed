package main

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// unzipped is what is in a zip, by name.
func unzipped(t *testing.T, path string) map[string]string {
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
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(b)
	}
	return all
}

// planted are secrets in the shapes that they have where programs write them, each with the part
// of it that must not be seen.
func planted(t *testing.T) map[string]string {
	t.Helper()
	id, err := keys.NewIdentity("somebody")
	if err != nil {
		t.Fatal(err)
	}
	code := wire.Code{Address: "engine.example:8443", Pin: id.Pin(), Secret: wire.NewSecret()}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	std, url := base64.StdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)
	long := make([]byte, 300)
	if _, err := rand.Read(long); err != nil {
		t.Fatal(err)
	}
	block := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: long}))
	lines := strings.Split(block, "\n")
	token := "v4.public." + base64.RawURLEncoding.EncodeToString(long)
	return map[string]string{
		"msg=enrol code=" + code.String() + " more":      code.Secret,
		`msg=failed err="secret ` + code.Secret + `"`:    code.Secret,
		"msg=start token=" + token:                       token[20:60],
		`{"token":"` + token + `"}`:                      token[20:60],
		"msg=peer psk=" + std:                            std[:20],
		`msg=peer key="` + std + `" more`:                std[:20],
		"msg=peer key=" + url + " more":                  url[:20],
		"key " + base64.StdEncoding.EncodeToString(long): base64.StdEncoding.EncodeToString(long)[:30],
		block: lines[3],
		fmt.Sprintf("msg=read content=%q", block): lines[2],
		lines[2]:                            lines[2],
		lines[0] + "\n" + lines[1]:          lines[1],
		"Authorization: Bearer " + url:      url[:20],
		`config password = hunter2-hunter`:  "hunter2",
		`{"password":"hunter3 with space"}`: "hunter3",
	}
}

// TestSupportHasNoSecrets although every log, the policy and the status are full of them.
func TestSupportHasNoSecrets(t *testing.T) {
	t.Parallel()
	data, code := enrolled(t)
	secrets := planted(t)
	secrets["code="+code.String()] = code.Secret
	var full strings.Builder
	for line := range secrets {
		full.WriteString("before it\n" + line + "\nafter it\n")
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logged := []string{"reverse_tunnel.log", "reverse_tunnel.log.1", "reverse_tunnel.log.9", "install.log", "update.log"}
	for _, name := range logged {
		write(filepath.Join(logFolder(data), name), full.String())
	}
	for _, name := range []string{"other.log", "reverse_tunnel.log.key", "identity.key"} { // Nobody's.
		write(filepath.Join(logFolder(data), name), "must not be there")
	}
	write(agent.PolicyFile(data), full.String())
	status, err := json.Marshal(agent.Status{PID: 7, LastError: full.String()})
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(data, "Agent", "status.json"), string(status))

	path := filepath.Join(t.TempDir(), "support.zip")
	out, _ := say(t, exitDone, "support", path, "--data", data)
	if !strings.Contains(out, path) {
		t.Errorf("it says %s", out)
	}
	all := unzipped(t, path)
	private, err := os.ReadFile(filepath.Join(inVPNClient(data), "identity.key"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(private), []byte("\n"))
	body := lines[min(1, len(lines)-1)] // of a PEM block; Windows has one line, which is sealed
	for name, content := range all {
		for line, secret := range secrets {
			if strings.Contains(content, secret) {
				t.Errorf("%s has %q of %q", name, secret, line)
			}
		}
		if bytes.Contains([]byte(content), body) || strings.Contains(content, "must not be there") {
			t.Errorf("%s has what it must not have", name)
		}
	}
	for _, name := range logged {
		if got := all["logs/"+name]; strings.Count(got, "before it\n") < len(secrets) || strings.Count(got, " it\n") < 2*len(secrets) {
			t.Errorf("logs/%s has lost more than secrets:\n%s", name, got)
		}
	}
	var found findings
	if err := json.Unmarshal([]byte(all["doctor.json"]), &found); err != nil || len(found.Checks) < 10 {
		t.Errorf("doctor.json: %v %s", err, all["doctor.json"])
	}
	if !strings.Contains(all["doctor.txt"], code.Pin.Words()) || !strings.Contains(all["device.json"], code.Address) ||
		!strings.Contains(all["device.json"], version()) || !strings.Contains(all["README.txt"], "support bundle") || all["status.json"] == "" {
		t.Errorf("it has not what helps: %v", all)
	}
	if want := 6 + len(logged); len(all) != want {
		t.Errorf("it has %d files, want %d", len(all), want)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

// TestSupportOverwritesNothing and leaves nothing half done.
func TestSupportOverwritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mine")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs := say(t, exitFailed, "support", path, "--data", dir); !strings.Contains(errs, "nothing is overwritten") {
		t.Errorf("it says %s", errs)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("it has %q, %v", b, err)
	}
	say(t, exitDone, "support", filepath.Join(dir, "empty.zip"), "--data", filepath.Join(dir, "none")) // Where nothing is.
	if all := unzipped(t, filepath.Join(dir, "empty.zip")); !strings.Contains(all["README.txt"], "Not in it: the status") || !strings.Contains(all["README.txt"], "Not in it: the logs") {
		t.Errorf("it has %v", all)
	}
}

// TestSupportHasTheEndOfALongLog, and a secret that is cut in its middle is known nevertheless.
func TestSupportHasTheEndOfALongLog(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	log := filepath.Join(logFolder(data), "reverse_tunnel.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes.Repeat([]byte{0xA5, 0x17, 0x3C}, 1000)})
	body := bytes.Split(block, []byte("\n"))
	last := bytes.Repeat([]byte("a line of the log, which is quite usual\n"), logTail/40)
	last = last[:logTail-len(block)/2]
	content := append(bytes.Repeat([]byte("long ago\n"), 1<<18), block...)
	content = append(content, last...)
	if err := os.WriteFile(log, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := tail(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range body[1 : len(body)-2] {
		if bytes.Contains(b, line) {
			t.Fatalf("it has %s", line)
		}
	}
	if len(b) > logTail+100 || len(b) < logTail/2 || !bytes.HasSuffix(b, last[len(last)/2:]) || !bytes.HasPrefix(b, []byte("[what was before is left out]\n")) {
		t.Errorf("it has %d bytes, which begin with %q", len(b), b[:60])
	}
}
