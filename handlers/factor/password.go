package factor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// The cost of a password hash, and what a stored one may cost at most.
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 2
	argonSalt    = 16
	argonKey     = 32

	maxArgonTime   = 16
	maxArgonMemory = 1 << 20 // KiB
)

// Limits of passwords and of the wait for a turn to hash one. A password is the only
// factor of an operator who has just been added, so it is as long as NIST SP 800-63B-4
// §3.1.1.2 asks of single factors.
const (
	minPassword  = 15   // characters
	maxPassword  = 1024 // bytes
	passwordTurn = 10 * time.Second
)

// ErrBusy is the error of a check that found no turn in time.
var ErrBusy = errors.New("the engine is busy with other sign-ins")

// HashPassword returns a password's argon2id hash with its parameters as one string.
// It refuses passwords shorter than 15 characters or longer than 1024 bytes.
func HashPassword(password string) (string, error) {
	if utf8.RuneCountInString(password) < minPassword || len(password) > maxPassword {
		return "", fmt.Errorf("a password needs %d characters or more, and %d bytes at most", minPassword, maxPassword)
	}
	return hashPassword(password), nil
}

// NewPassword returns a random password of 100 bits that people can type.
func NewPassword() string { return grouped(20) }

// grouped is random text of n base32 characters, five bits each, in groups of four.
func grouped(n int) string {
	text := strings.ToLower(rand.Text())
	groups := make([]string, 0, n/4)
	for i := 0; i < n; i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, "-")
}

func hashPassword(password string) string {
	h := passwordHash{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt)}
	_, _ = rand.Read(h.salt) // never fails
	h.key = argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, argonKey)
	return h.String()
}

// A passwordHash is a hash with everything that it takes to make it again.
type passwordHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// String is the PHC form that stands in the database.
func (h passwordHash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, b64(h.salt), b64(h.key))
}

// parsePasswordHash reads what String wrote.
func parsePasswordHash(s string) (passwordHash, error) {
	var h passwordHash
	var version int
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("the stored password hash is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.time, &h.threads); err != nil {
		return h, fmt.Errorf("read the stored password hash: %w", err)
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.key) < 16:
		return h, errors.New("the stored password hash is damaged")
	case version != argon2.Version, h.time == 0, h.time > maxArgonTime, h.threads == 0, h.memory > maxArgonMemory:
		return h, errors.New("the stored password hash has parameters that are not allowed")
	}
	return h, nil
}

func (h passwordHash) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key))) //nolint:gosec // a few dozen bytes
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// outdated reports whether the hash was made with other parameters than today's.
func (h passwordHash) outdated() bool {
	return h.memory != argonMemory || h.time != argonTime || h.threads != argonThreads || len(h.key) != argonKey
}

// Passwords checks passwords, one at a time: each check takes 64 MiB and a tenth of a
// second on two processors. It is safe for concurrent use.
type Passwords struct {
	turns turns
	dummy passwordHash // takes the place of an unknown operator's hash, so that both take as long
}

// NewPasswords returns a checker of passwords.
func NewPasswords() *Passwords {
	dummy := passwordHash{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	_, _ = rand.Read(dummy.salt) // never fails
	_, _ = rand.Read(dummy.key)
	return &Passwords{dummy: dummy}
}

// Check compares a password with a stored hash. An empty hash stands for an unknown
// operator, or one without a password: it never matches and takes as long as any. fresh
// is a new hash to be stored when the old one was made with other parameters. The error
// is [ErrBusy] when there was no turn within ten seconds.
func (p *Passwords) Check(ctx context.Context, stored, password string) (ok bool, fresh string, err error) {
	h := p.dummy
	if stored != "" {
		if h, err = parsePasswordHash(stored); err != nil {
			return false, "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, passwordTurn)
	defer cancel()
	if !p.turns.take(ctx) {
		return false, "", ErrBusy
	}
	defer func() {
		if p.turns.wanted() {
			runtime.GC() // before the next one takes as much again
		}
		p.turns.give()
	}()
	ok = len(password) <= maxPassword && h.matches(password) && stored != ""
	if ok && h.outdated() {
		fresh = hashPassword(password)
	}
	return ok, fresh, nil
}
