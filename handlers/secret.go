package handlers

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
)

// tokenPrefix makes API tokens recognisable to people and to secret scanners.
const tokenPrefix = "brlt_"

// HashSecret is the form in which sessions, API tokens and enrolment codes are
// stored. They are random and long, so a plain hash is enough.
func HashSecret(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// NewPassword returns a random password of 100 bits that people can type.
func NewPassword() string {
	text := strings.ToLower(rand.Text())
	groups := make([]string, 0, 5)
	for i := range 5 {
		groups = append(groups, text[4*i:4*i+4])
	}
	return strings.Join(groups, "-")
}

// NewAPIToken returns a random API token and the hash under which it is stored.
func NewAPIToken() (token string, hash [32]byte) {
	token = tokenPrefix + newSecret()
	return token, HashSecret(token)
}

// newSecret returns 260 random bits as text.
func newSecret() string { return rand.Text() + rand.Text() }
