package handlers

import (
	"crypto/rand"
	"crypto/sha256"

	"borealis/handlers/factor"
)

// tokenPrefix makes API tokens recognisable to people and to secret scanners.
const tokenPrefix = "brlt_"

// HashSecret is the form in which sessions, API tokens and enrolment codes are
// stored. They are random and long, so a plain hash is enough.
func HashSecret(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// HashPassword returns a password's argon2id hash with its parameters as one string.
// It refuses passwords shorter than 15 characters or longer than 1024 bytes.
func HashPassword(password string) (string, error) { return factor.HashPassword(password) }

// NewPassword returns a random password of 100 bits that people can type.
func NewPassword() string { return factor.NewPassword() }

// NewAPIToken returns a random API token and the hash under which it is stored.
func NewAPIToken() (token string, hash [32]byte) {
	token = tokenPrefix + newSecret()
	return token, HashSecret(token)
}

// newSecret returns 260 random bits as text.
func newSecret() string { return rand.Text() + rand.Text() }
