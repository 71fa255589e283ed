package factor

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// recoveryCodes is how many recovery codes an operator gets. Each has 80 bits, so that
// a plain hash is enough to store it.
const (
	recoveryCodes  = 10
	recoveryLength = 16 // base32 characters
)

// base32Text is how secrets are written that people may have to type.
var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewRecoveryCodes returns the codes that stand in for a lost second factor, once each.
func NewRecoveryCodes() []string {
	codes := make([]string, recoveryCodes)
	for i := range codes {
		codes[i] = grouped(recoveryLength)
	}
	return codes
}

// RecoveryHash is the form in which a recovery code of an operator is stored. Case,
// blanks and hyphens do not count. ok is false when the text cannot be a recovery code.
func RecoveryHash(operatorID, code string) (hash [32]byte, ok bool) {
	code = strings.ToUpper(strings.Join(strings.FieldsFunc(code, func(c rune) bool { return c == '-' || c == ' ' }), ""))
	if _, err := base32Text.DecodeString(code); err != nil || len(code) != recoveryLength {
		return [32]byte{}, false
	}
	// The operator is part of it, so that nobody can use another one's code.
	return sha256.Sum256([]byte("borealis recovery code v1\x00" + operatorID + "\x00" + code)), true
}
