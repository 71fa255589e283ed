package browser

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// startAgent enrols an agent on this machine that the engine lets in, and runs it.
func (e engine) startAgent(t *testing.T) (deviceID string) {
	t.Helper()
	bin, data := filepath.Join(t.TempDir(), "borealis-agent"), filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-o", bin, "./cmd/borealis-agent")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var made struct{ Code string }
	e.run(t, &made, "code", "new", "--auto-approve", "--engine", e.listen, "--json")
	if out, err := exec.Command(bin, "enrol", "--data", data, "--code", made.Code).CombinedOutput(); err != nil {
		t.Fatalf("enrol: %v\n%s", err, out)
	}
	c := exec.Command(bin, "run", "--data", data, "--shell", "/bin/sh")
	c.Env, c.Stderr = append(os.Environ(), "PS1=$ ", "ENV="), os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	var list struct{ Devices []struct{ ID string } }
	e.run(t, &list, "device", "list", "--json")
	return list.Devices[0].ID
}

// authenticator gives the browser a passkey device whose owner is always there.
func authenticator() chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		if err := webauthn.Enable().Do(ctx); err != nil {
			return err
		}
		_, err := webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		return err
	})
}

const connected = "window.borealisTerminal && window.borealisTerminal.state === 'connected'"

// TestPasskeys is how an operator gets a first second factor: a shell asks for one, a
// passkey is made, the shell opens; and the next sign-in is the passkey alone.
func TestPasskeys(t *testing.T) {
	ctx, f := open(t)
	e := startEngine(t)
	shell := e.URL + "/devices/" + e.startAgent(t) + "/powershell"
	do(t, ctx,
		chromedp.Navigate("about:blank"), authenticator(),
		signInAs(e.URL, e.Operator, e.Password),
		chromedp.Navigate(shell),
		chromedp.Click(id("connect-button"), chromedp.ByQuery),
		chromedp.WaitVisible(id("verify-none"), chromedp.ByQuery), // the page went there by itself
		chromedp.Click("#verify-account", chromedp.ByQuery),
		chromedp.WaitVisible(id("passkey-form"), chromedp.ByQuery),
		chromedp.SendKeys("#passkey-name", "Laptop", chromedp.ByQuery),
		chromedp.SendKeys("#passkey-password", e.Password, chromedp.ByQuery),
	)
	screenshot(t, ctx, "account.png")
	do(t, ctx,
		chromedp.Click(id("passkey-add"), chromedp.ByQuery),
		chromedp.WaitVisible(id("passkey-row"), chromedp.ByQuery),
		chromedp.Navigate(e.URL+"/verify?next=/devices"),
		chromedp.Click(id("proof-passkey"), chromedp.ByQuery),
		chromedp.WaitVisible(id("device-row"), chromedp.ByQuery),
		chromedp.Navigate(shell),
		until(connected+" || !!document.querySelector('"+id("connect-button")+"')"),
	)
	var up bool
	do(t, ctx, chromedp.Evaluate(connected, &up))
	if !up {
		do(t, ctx, chromedp.Click(id("connect-button"), chromedp.ByQuery), until(connected))
	}
	do(t, ctx,
		chromedp.Focus(id("terminal-host")+" textarea", chromedp.ByQuery),
		typed("echo $((6*7))"),
		until(screen+".includes('\\n42')"),
		chromedp.Navigate(e.URL+"/devices"),
		signOut,
		chromedp.Click(id("sign-in-passkey"), chromedp.ByQuery),
		chromedp.WaitVisible(id("device-row"), chromedp.ByQuery),
	)
	f.check(t)
}

// TestOneTimeCodes sets an authenticator app up by its secret, and signs in with it.
func TestOneTimeCodes(t *testing.T) {
	ctx, f := open(t)
	e := startEngine(t)
	var secret, codes string
	do(t, ctx,
		signInAs(e.URL, e.Operator, e.Password),
		chromedp.Navigate(e.URL+"/account"),
		chromedp.SendKeys("#totp-password", e.Password, chromedp.ByQuery),
		chromedp.Click(id("totp-begin"), chromedp.ByQuery),
		chromedp.WaitVisible(id("totp-qr"), chromedp.ByQuery),
		chromedp.Text(id("totp-secret"), &secret, chromedp.ByQuery),
	)
	screenshot(t, ctx, "totp.png")
	do(t, ctx,
		chromedp.SendKeys("#totp-code", code(t, secret, 0), chromedp.ByQuery),
		chromedp.Click(id("totp-confirm"), chromedp.ByQuery),
		chromedp.WaitVisible(id("recovery-codes"), chromedp.ByQuery),
		chromedp.Text(id("recovery-codes"), &codes, chromedp.ByQuery),
		signOut,
		chromedp.WaitVisible(id("sign-in-form"), chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-name"), e.Operator, chromedp.ByQuery),
		chromedp.SendKeys(id("sign-in-password"), e.Password, chromedp.ByQuery),
		chromedp.Click(id("sign-in-submit"), chromedp.ByQuery),
		chromedp.WaitVisible(id("proof-code"), chromedp.ByQuery),
	)
	screenshot(t, ctx, "second-step.png")
	do(t, ctx,
		chromedp.SendKeys(id("proof-code"), code(t, secret, 1), chromedp.ByQuery), // the next one: the first is used up
		chromedp.Click(id("proof-submit"), chromedp.ByQuery),
		chromedp.WaitVisible(`nav a[href="/devices"]`, chromedp.ByQuery),
	)
	if len(codes) < 100 {
		t.Errorf("recovery codes: %q", codes)
	}
	f.check(t)
}

// signOut presses the button in the menu of the operator.
var signOut = chromedp.Evaluate("document.querySelector('"+id("sign-out")+"').click()", nil)

// code is the one-time code (RFC 6238) of a secret, so many steps from now.
func code(t *testing.T, secret string, steps uint64) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatalf("secret %q: %v", secret, err)
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, uint64(time.Now().Unix())/30+steps)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}
