//go:build linux

package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"borealis/tunnel/wg/nstest"
)

// TestInstaller signs the agent and its MSI package with a certificate of its own, checks both
// signatures, and installs and removes the package.
func TestInstaller(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	needWine(t, "wixl", "msibuild", "osslsigncode", "openssl")
	b := newBuilder(t)
	f, p := newFleetOfOne(t, b)
	w := &windows{fleet: f, pc: p, builder: b}

	s := newSigner(t)
	program := filepath.Join(b.dir, "agent-1.0.0.exe")
	s.sign(t, "../../.ci/dist/sign", program)
	s.verify(t, program)
	msi := filepath.Join(b.dir, "agent.msi")
	s.sign(t, "../../.ci/dist/msi", program, msi)
	s.verify(t, msi)
	s.refusesChanged(t, program)

	content, err := os.ReadFile(msi)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.disk("agent.msi"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t, 0, "msiexec", "/i", `C:\agent.msi`, "/qn", "CODE="+w.code())
	var list struct {
		Devices []struct {
			ID     string `json:"id"`
			Online bool   `json:"online"`
		} `json:"devices"`
	}
	w.eventually("the device to be online", func() bool {
		w.client.do(t.Context(), http.MethodGet, "/api/devices", nil, &list)
		return len(list.Devices) == 1 && list.Devices[0].Online
	})
	if !p.has(serviceAt) || p.has(programAt) {
		t.Errorf("the registry: service %v, an entry beside the package's own %v", p.has(serviceAt), p.has(programAt))
	}
	p.run(t, 0, "msiexec", "/x", `C:\agent.msi`, "/qn")
	w.eventually("the device to be offline", func() bool {
		w.client.do(t.Context(), http.MethodGet, "/api/devices", nil, &list)
		return !list.Devices[0].Online
	})
	for _, key := range []string{serviceAt, programAt, sourceAt} {
		if p.has(key) {
			t.Errorf("the registry still has %s", key)
		}
	}
}

// A signer has a certificate for programs, of an authority that nobody knows.
type signer struct{ dir string }

func newSigner(t *testing.T) signer {
	t.Helper()
	s := signer{t.TempDir()}
	script := `set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=Test authority" -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj "/CN=Borealis test" -keyout code.key -out code.csr
printf 'extendedKeyUsage=codeSigning\n' >code.ext
openssl x509 -req -in code.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile code.ext -out code.pem`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// sign runs one of the scripts of a release.
func (s signer) sign(t *testing.T, script string, args ...string) {
	t.Helper()
	cmd := exec.Command(script, args...)
	cmd.Env = append(os.Environ(), "VERSION=1.0.0",
		"CODESIGN_CERT="+filepath.Join(s.dir, "code.pem"), "CODESIGN_KEY="+filepath.Join(s.dir, "code.key"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// verify checks a signature, without asking anybody for revocations.
func (s signer) verify(t *testing.T, path string) {
	t.Helper()
	if out, err := s.check(path); err != nil || !strings.Contains(out, "Signature verification: ok") {
		t.Errorf("%s: %v\n%s", path, err, out)
	}
}

func (s signer) check(path string) (string, error) {
	out, err := exec.Command("osslsigncode", "verify", "-ignore-crl", "-CAfile", filepath.Join(s.dir, "ca.pem"), "-in", path).CombinedOutput()
	return string(out), err
}

// refusesChanged changes one byte of a signed program.
func (s signer) refusesChanged(t *testing.T, path string) {
	t.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	program[len(program)/2] ^= 1
	changed := filepath.Join(s.dir, "changed.exe")
	if err := os.WriteFile(changed, program, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.check(changed); err == nil {
		t.Errorf("a changed program passes: %s", out)
	}
}
