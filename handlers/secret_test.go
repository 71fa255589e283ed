package handlers

import (
	"regexp"
	"testing"
)

func TestNewAPIToken(t *testing.T) {
	t.Parallel()
	token, hash := NewAPIToken()
	if other, _ := NewAPIToken(); other == token || HashSecret(token) != hash || !regexp.MustCompile(`^brlt_[A-Z2-7]{52}$`).MatchString(token) {
		t.Errorf("token %s", token)
	}
}
