package factor

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

func TestTOTP(t *testing.T) {
	t.Parallel()
	secret := NewTOTP()
	if NewTOTP() == secret || len(secret) != 32 {
		t.Fatalf("the secret has %d characters, or came twice", len(secret))
	}
	now := time.Unix(1_800_000_015, 0) // the middle of a step
	step := now.Unix() / 30
	for _, c := range []struct {
		drift int64 // steps that the code is of, from now
		ok    bool
	}{{-2, false}, {-1, true}, {0, true}, {1, true}, {2, false}} {
		code, err := totp.GenerateCode(secret, time.Unix((step+c.drift)*30, 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{code, " " + code[:3] + " " + code[3:] + " "} {
			got, ok := CheckTOTP(secret, typed, now)
			if ok != c.ok || ok && got != step+c.drift {
				t.Errorf("%q of step %+d: step %d %v, want %v", typed, c.drift, got-step, ok, c.ok)
			}
		}
	}
	for _, typed := range []string{"", "12345", "abcdef", "1234567", "00000O"} {
		if _, ok := CheckTOTP(secret, typed, now); ok {
			t.Errorf("%q is taken", typed)
		}
	}
	if _, ok := CheckTOTP("not base32!", "", now); ok {
		t.Error("no code is taken for a secret that cannot be read")
	}
}

// TestTOTPVector is the example of RFC 6238, appendix B, in six digits.
func TestTOTPVector(t *testing.T) {
	t.Parallel()
	secret := base32Text.EncodeToString([]byte("12345678901234567890"))
	if step, ok := CheckTOTP(secret, "081804", time.Unix(1111111109, 0)); !ok || step != 0x23523EC {
		t.Errorf("step %x %v", step, ok)
	}
}

func TestTOTPCode(t *testing.T) {
	t.Parallel()
	uri, err := TOTPCode(NewTOTP(), "Borealis", "ann")
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(uri, "data:image/png;base64,")
	if !ok {
		t.Fatalf("%.40s", uri)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil || picture.Bounds().Dx() != qrSize {
		t.Errorf("%v %v", picture.Bounds(), err)
	}
	if _, err := TOTPCode("1", "Borealis", "ann"); err == nil {
		t.Error("a secret that cannot be read is drawn")
	}
}
