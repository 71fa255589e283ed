package factor

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// What every authenticator app knows without being told (RFC 6238): HMAC-SHA-1, six
// digits, steps of 30 seconds. A code of one step before or after is taken too, for
// clocks that differ and people who type slowly.
const (
	totpStep   = 30 // seconds
	totpDigits = otp.DigitsSix
	totpDrift  = 1  // steps
	totpSecret = 20 // bytes, as long as the hash (RFC 4226 §4)
	qrSize     = 232
)

// NewTOTP returns a new secret for one-time codes, as base32 text.
func NewTOTP() string {
	secret := make([]byte, totpSecret)
	_, _ = rand.Read(secret) // never fails
	return base32Text.EncodeToString(secret)
}

// TOTPCode is the QR code with which an authenticator app takes over a secret of
// [NewTOTP]: a PNG image as a data URI. The app shows the issuer and the account.
func TOTPCode(secret, issuer, account string) (string, error) {
	raw, err := base32Text.DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuer, AccountName: account, Secret: raw, Period: totpStep, Digits: totpDigits, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return "", fmt.Errorf("describe the secret: %w", err)
	}
	picture, err := key.Image(qrSize, qrSize)
	if err != nil {
		return "", fmt.Errorf("draw the QR code: %w", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return "", fmt.Errorf("write the QR code: %w", err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// CheckTOTP compares a code with a secret and returns the time step that it is of, so
// that whoever calls can refuse to take a step twice (RFC 6238 §5.2). Blanks in the
// code do not count.
func CheckTOTP(secret, code string, now time.Time) (step int64, ok bool) {
	code = strings.Join(strings.Fields(code), "")
	options := hotp.ValidateOpts{Digits: totpDigits, Algorithm: otp.AlgorithmSHA1}
	current := now.Unix() / totpStep
	for at := current - totpDrift; at <= current+totpDrift; at++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(at), options) //nolint:gosec // not before 1970
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = at, true // no early way out: each check takes as long
		}
	}
	return step, ok
}
