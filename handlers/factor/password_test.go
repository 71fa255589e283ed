package factor

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

const testPassword = "correct horse battery staple"

func TestPasswords(t *testing.T) {
	t.Parallel()
	hash, err := HashPassword(testPassword)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=2$") {
		t.Errorf("the hash is %s", hash)
	}
	p := NewPasswords()
	for _, c := range []struct {
		stored, password string
		want             bool
	}{
		{hash, testPassword, true},
		{hash, testPassword + " ", false},
		{hash, "", false},
		{hash, strings.Repeat("x", maxPassword+1), false},
		{"", testPassword, false},
		{"", "", false},
	} {
		ok, fresh, err := p.Check(t.Context(), c.stored, c.password)
		if ok != c.want || fresh != "" || err != nil {
			t.Errorf("%.20s %.20s: %v %q %v, want %v", c.stored, c.password, ok, fresh, err, c.want)
		}
	}
	for _, short := range []string{"", "fourteen chars", strings.Repeat("x", maxPassword+1)} {
		if _, err := HashPassword(short); err == nil {
			t.Errorf("%.20q was hashed", short)
		}
	}
}

// TestPasswordIsHashedAnew when it was hashed at another cost.
func TestPasswordIsHashedAnew(t *testing.T) {
	t.Parallel()
	old := passwordHash{memory: 64, time: 1, threads: 1, salt: []byte("saltsaltsaltsalt")}
	old.key = argon2.IDKey([]byte(testPassword), old.salt, old.time, old.memory, old.threads, 32)
	p := NewPasswords()
	ok, fresh, err := p.Check(t.Context(), old.String(), testPassword)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if again, _, err := p.Check(t.Context(), fresh, testPassword); !again || err != nil || !strings.Contains(fresh, "m=65536,t=3,p=2") {
		t.Errorf("the new hash %s: %v %v", fresh, again, err)
	}
}

func TestDamagedPasswordHash(t *testing.T) {
	t.Parallel()
	p := NewPasswords()
	const salt, key = "c2FsdHNhbHRzYWx0c2FsdA", "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U"
	for _, stored := range []string{
		"x", "!", "$2a$10$abc",
		"$argon2i$v=19$m=65536,t=3,p=2$" + salt + "$" + key,
		"$argon2id$v=18$m=65536,t=3,p=2$" + salt + "$" + key,
		"$argon2id$v=19$m=99999999,t=3,p=2$" + salt + "$" + key,
		"$argon2id$v=19$m=65536,t=999,p=2$" + salt + "$" + key,
		"$argon2id$v=19$m=65536,t=0,p=2$" + salt + "$" + key,
		"$argon2id$v=19$m=65536,t=3,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=65536,t=3,p=300$" + salt + "$" + key,
		"$argon2id$v=19$m=65536,t=3,p=2$$" + key,
		"$argon2id$v=19$m=65536,t=3,p=2$" + salt + "$",
		"$argon2id$v=19$m=65536,t=3,p=2$" + salt + "$***",
	} {
		if ok, _, err := p.Check(t.Context(), stored, ""); ok || err == nil {
			t.Errorf("%s: %v %v", stored, ok, err)
		}
	}
}

// TestPasswordTurn: whoever finds no turn is told so instead of waiting for ever.
func TestPasswordTurn(t *testing.T) {
	t.Parallel()
	var p Passwords
	if !p.turns.take(t.Context()) {
		t.Fatal("there is no turn")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := p.Check(ctx, "", "x")
	if !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

func TestNewPassword(t *testing.T) {
	t.Parallel()
	a, b := NewPassword(), NewPassword()
	if a == b || !regexp.MustCompile(`^([a-z2-7]{4}-){4}[a-z2-7]{4}$`).MatchString(a) {
		t.Errorf("passwords %s and %s", a, b)
	}
	if _, err := HashPassword(a); err != nil {
		t.Error(err)
	}
}
