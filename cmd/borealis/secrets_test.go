package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// privateKeys returns every private key of a data root, an agent's too when there is
// one, and the key that seals them, in the forms in which one might leak.
func privateKeys(t *testing.T, data string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	box, err := seal.Load(data + ".key")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := keys.OpenEngine(engine.Root(data).Certificates(), nil, box)
	if err != nil {
		t.Fatal(err)
	}
	_, token := engine.TokenSigner()
	forms(all, "identity", engine.Identity.Private().Seed())
	forms(all, "token key", token.Seed())
	forms(all, "audit key", engine.Audit.Seed())
	forms(all, "WireGuard key", engine.WireGuard[:])
	web, err := engine.Web.PrivateKey.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	forms(all, "web key", web)
	text, err := os.ReadFile(data + ".key")
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	forms(all, "seal key", sealing)
	if agent, err := keys.OpenAgent(filepath.Join(data, "agent", "Agent", "Borealis", "Certificates", "VPN_Client")); err == nil {
		forms(all, "agent's identity", agent.Identity.Private().Seed())
	}
	return all
}

func forms(all map[string][]byte, name string, raw []byte) {
	all[name+" raw"] = raw
	all[name+" base64"] = []byte(base64.StdEncoding.EncodeToString(raw))
	all[name+" base64url"] = []byte(base64.RawURLEncoding.EncodeToString(raw))
	all[name+" hex"] = []byte(hex.EncodeToString(raw))
}

// TestCrashTellsNoSecrets kills an engine in the way that makes Go print everything it
// can, and looks for secrets in that, and for a core dump.
func TestCrashTellsNoSecrets(t *testing.T) {
	dir := t.TempDir()
	bin, data := filepath.Join(dir, "borealis"), filepath.Join(dir, "root")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	made := must(t, "init", "--data", data, "--json")
	var admin struct{ Operator, Password string }
	if err := json.Unmarshal([]byte(made), &admin); err != nil {
		t.Fatal(err)
	}
	token := must(t, "token", "new", "--operator", admin.Operator, "--data", data)
	var crash bytes.Buffer
	c := exec.Command(bin, "serve", "--data", data, "--json", "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack")
	c.Env, c.Dir, c.Stderr = append(os.Environ(), "GOTRACEBACK=crash"), dir, &crash
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var ready ready
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	browser := newClient(t, ready.URL, "")
	browser.signIn(t.Context(), admin.Operator, admin.Password)
	program := newClient(t, ready.URL, string(bytes.TrimSpace([]byte(token))))
	if code := program.do(t.Context(), "GET", "/api/devices", nil, nil); code != 200 {
		t.Fatalf("the token: %d", code)
	}
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "limits"))
	if err != nil || !bytes.Contains(limits, []byte("Max core file size        0                    0")) {
		t.Errorf("core dumps are possible: %v\n%s", err, limits)
	}
	if err := c.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // of course it ended badly
	if !bytes.Contains(crash.Bytes(), []byte("goroutine ")) {
		t.Fatalf("there is no crash output: %q", crash.String())
	}
	secrets := privateKeys(t, data)
	secrets["password"], secrets["token"] = []byte(admin.Password), bytes.TrimSpace([]byte(token))
	for name, secret := range secrets {
		if bytes.Contains(crash.Bytes(), secret) {
			t.Errorf("%s is in the crash output", name)
		}
	}
	if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
		t.Errorf("core dumps: %v", cores)
	}
}
