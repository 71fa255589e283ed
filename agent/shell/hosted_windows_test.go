package shell

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// needUser skips a test where no shell can run as the signed-in user.
func needUser(t *testing.T) {
	t.Helper()
	token, err := signedIn()
	if errors.Is(err, errService) || errors.Is(err, errNobody) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
}

func TestAsUser(t *testing.T) {
	needUser(t)
	t.Setenv("AGENTS_OWN", "secret") // the user's environment is another one
	d := newDevice(t, Config{Shell: self(t), AsUser: true, Env: []string{childVariable + "=greet"}})
	k := open(t, d.dial(t))
	if err := k.Setenv("BOREALIS_OPERATOR", "Grace"); err != nil {
		t.Fatal(err)
	}
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	out, err := k.end(t)
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 37 || !strings.Contains(out, "I began with Grace []") {
		t.Errorf("ended with %v after %q", err, out)
	}
}
