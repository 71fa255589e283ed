package checkup_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	"borealis/agent/checkup"
	"borealis/tunnel/keys"
)

// secretForms are the forms in which engine and agent hold secrets, made of random bytes.
func secretForms(raw [32]byte) map[string]string {
	text := rand.Text()
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw[:]})
	return map[string]string{
		"base64":         base64.StdEncoding.EncodeToString(raw[:]),
		"base64url":      base64.RawURLEncoding.EncodeToString(raw[:]),
		"hex":            hex.EncodeToString(raw[:]),
		"PEM":            strings.Split(string(block), "\n")[1],
		"rand.Text":      text,
		"API token":      "brlt_" + text + rand.Text(),
		"enrolment code": text,
	}
}

// TestScrub: what is secret goes, and what helps stays.
func TestScrub(t *testing.T) {
	t.Parallel()
	raw := [32]byte(bytes.Repeat([]byte{0xa5, 0x3c, 0x7e, 0x19}, 8))
	key := base64.StdEncoding.EncodeToString(raw[:])
	for _, c := range []struct{ name, text, secret, stays string }{
		{"assignment", `msg=x password=hunter2 port=30000`, "hunter2", "port=30000"},
		{"JSON", `{"password":"hun ter2","port":3}`, "hun ter2", `"port":3`},
		{"JSON in a log line", `detail="{\"psk\":\"hunter2\"}" n=1`, "hunter2", "n=1"},
		{"header", "Authorization: Bearer hunter2\nHost: a", "hunter2", "Host: a"},
		{"bearer in a sentence", `sent "Bearer hunter2"`, "hunter2", "sent"},
		{"URL", "https://ann:hunter2@example.org/a", "hunter2", "example.org/a"},
		{"PASETO", "token v4.public.eyJhIjoiYiJ9_-x.Zm9v end", "eyJhIjoiYiJ9", "end"},
		{"enrolment code", "code brl1.engine.example:8443.aaaa.SECRET end", "SECRET", "end"},
		{"password that was made", "use abcd-efgh-ijkl-mnop-qrst now", "abcd-efgh", "now"},
		{"recovery code", "use abcd-efgh-ijkl-mno2 now", "ijkl", "now"},
		{"PEM", "a\n-----BEGIN PRIVATE KEY-----\nMC4CAQA\n-----END PRIVATE KEY-----\nb", "MC4CAQA", "\nb"},
		{"PEM with escaped lines", `e="-----BEGIN PRIVATE KEY-----\nMC4CAQA\n" n=1`, "MC4CAQA", "n=1"},
		{"PEM without an end", "-----BEGIN PRIVATE KEY-----\nMC4CAQA\n", "MC4CAQA", ""},
		{"key at the end of a path", "/var/lib/" + key, key, ""},
		{"PEM without an end, and a line", "-----BEGIN PRIVATE KEY-----\n" + key + "\nMC4CAQA=\nafter it\n", "MC4CAQA", "\nafter it\n"},
		{"PEM with a head", "a\n-----BEGIN X KEY-----\nDEK-Info: AES-128-CBC,1\n\nMC4CAQA\n-----END X KEY-----\nb", "MC4CAQA", "\nb"},
		{"PEM without an end before another", "-----BEGIN A KEY-----\nMC4CAQA\nwhat helps\n-----BEGIN B KEY-----\nMC4CAQA\n-----END B KEY-----\n", "MC4CAQA", "\nwhat helps\n"},
		{"key of age", "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQF end", "QQQSYQC", "end"},
		{"assignment in a file", "password = hunter2\nport = 1", "hunter2", "\nport = 1"},
		{"JSON with a quote in it", `{"password":"a\"hunter2","port":3}`, "hunter2", `"port":3`},
		{"header of a proxy", `sent "Basic aHVudGVyOmh1bnRlcg" n=1`, "aHVudGVy", "n=1"},
		{"token with a name", "token=hunter\nport=1", "hunter", "\nport=1"},
		{"token as JSON", `"ticket": "hunter", "n": 1`, "hunter", `"n": 1`},
		{"token as YAML", "token: hunter2\nn: 1", "hunter2", "\nn: 1"},
		{"part of a key", "msg=x a=" + key[:40] + " n=1", key[:40], "n=1"},
		{"key in hexadecimal", "key " + hex.EncodeToString(raw[:]) + " end", hex.EncodeToString(raw[:]), "end"},
		{"key in capitals", "key " + strings.ToUpper(hex.EncodeToString(raw[:])) + " end", "A53C7E", "end"},
		{"key that has few digits", "key " + strings.Repeat("ab", 31) + "12 end", "abab", "end"},
	} {
		got := string(checkup.Scrub([]byte(c.text)))
		if strings.Contains(got, c.secret) || !strings.Contains(got, c.stays) || !strings.Contains(got, "[removed]") {
			t.Errorf("%s: %q became %q", c.name, c.text, got)
		}
		if again := string(checkup.Scrub([]byte(got))); again != got {
			t.Errorf("%s: %q became %q when it was scrubbed again", c.name, got, again)
		}
	}
}

// TestScrubKeepsWhatHelps: a bundle without hashes, pins and paths helps nobody.
func TestScrubKeepsWhatHelps(t *testing.T) {
	t.Parallel()
	id, err := keys.NewIdentity("somebody")
	if err != nil {
		t.Fatal(err)
	}
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, text := range []string{
		"time=2026-01-02T03:04:05.678Z level=INFO msg=tunnel_up agent=01983b2e-7c1d-7b3a-9d2e-0123456789ab tunnel=01983b2e-7c1d-7b3a-9d2e-0123456789ac port=30000",
		"GET /devices/01983b2e-7c1d-7b3a-9d2e-0123456789ab/terminal/ws HTTP/1.1",
		"open /var/lib/borealis/Engine/Certificates/VPN_Server/wireguard.key: permission denied",
		"pin ehs4x2kqz7ehs4x2kqz7ehs4x2kqz7ehs4x2kqz7ehs4x2kqz7ab of the engine",
		"the token was used already; single use (token_rejected)",
		"check token: it is expired", `err="check token: paseto: no such key"`,
		"sha256 " + sum, `"sha256": "` + sum + `"`, `detail="{\"sha256\":\"` + sum + `\"}"`, "driver_offered sha256=" + sum + " n=1",
		"its SHA-256 is " + sum + "; if you replaced it", "it is damaged: SHA-256 " + sum + ", want " + sum,
		"pin " + id.Pin().String(), "words " + id.Pin().Words(),
		"tunnel=01990000-0000-7000-8000-000000000000 reason=operator_left",
		"/var/lib/borealis-agent/Agent/Borealis/Certificates/VPN_Client/identity.crt",
		"/opt/Borealis/Agent/Borealis/Certificates/Client/Identity01/more",
		`C:\ProgramData\Borealis\Agent\Borealis\Certificates\VPN_Client\identity.crt`,
		"time=2026-03-01T12:00:00.000Z level=INFO msg=token_keys_changed", "a secret is nothing that is told here",
		"one\r\ntwo\r\n\r\nthree\n",
	} {
		if got := string(checkup.Scrub([]byte(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// FuzzScrub plants secrets between whatever else, and looks for them in what comes out.
func FuzzScrub(f *testing.F) {
	f.Add([]byte("time=2026-01-02 msg=x "), []byte(" port=1\n"), []byte("0123456789abcdef0123456789abcdef"))
	f.Add([]byte("/var/lib/borealis/Engine/"), []byte("-----BEGIN"), []byte{1})
	f.Add([]byte(`{"psk":"`), []byte(`"}`), bytes.Repeat([]byte{0xff, 0}, 16))
	f.Fuzz(func(t *testing.T, before, after, seed []byte) {
		var raw [32]byte
		_, _ = rand.Read(raw[:])
		for i := range min(len(seed), 8) {
			raw[i] ^= seed[i]
		}
		for name, secret := range secretForms(raw) {
			text := append(append(bytes.Clone(before), secret...), after...)
			if name == "enrolment code" {
				text = append(append(append(bytes.Clone(before), "brl1.h:1.pin."...), secret...), after...)
			}
			if name == "hex" && bytes.Contains(before, []byte("256")) { // it may be called a sum
				continue
			}
			got := checkup.Scrub(text)
			if !bytes.Contains(append(bytes.Clone(before), after...), []byte(secret)) && bytes.Contains(got, []byte(secret)) {
				t.Errorf("%s: %q is in %q", name, secret, got)
			}
		}
		_ = checkup.Scrub(seed)
	})
}
