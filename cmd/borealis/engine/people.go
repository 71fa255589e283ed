package engine

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"borealis/agent/wire"
	"borealis/cmd/hint"
	"borealis/handlers"
	"borealis/store"
	"borealis/tunnel/keys"
)

// LocalRecord is the audit record of a command on the engine's host.
func LocalRecord() store.Record {
	by := store.Actor{Name: "console"}
	if u, err := user.Current(); err == nil {
		by.Source = "local user " + u.Username
	}
	return store.Record{}.By(by)
}

// OperatorNamed finds an operator by name. When there is none the error is a [hint.Error].
func OperatorNamed(ctx context.Context, s *store.Store, name string) (store.Operator, error) {
	o, err := s.OperatorByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return store.Operator{}, &hint.Error{Err: fmt.Errorf("there is no operator named %q", name), Hint: "\"borealis operator list\" shows all, \"borealis operator add NAME\" adds one"}
	}
	return o, err
}

// AddCode makes an enrolment code for agents that dial an address, and returns the string that they
// enrol with; the store has its hash.
func AddCode(ctx context.Context, s *store.Store, pin keys.Pin, address string, code store.Code) (string, error) {
	secret := wire.NewSecret()
	if _, err := s.AddCode(ctx, handlers.HashSecret(secret), code, LocalRecord()); err != nil {
		return "", err
	}
	return wire.Code{Address: address, Pin: pin, Secret: secret}.String(), nil
}

// AddOperator adds an operator with a new password, which it returns; the store has its hash.
func AddOperator(ctx context.Context, s *store.Store, o store.Operator) (password string, err error) {
	password, o.PasswordHash, err = NewPassword()
	if err != nil {
		return "", err
	}
	_, err = s.AddOperator(ctx, o, LocalRecord())
	if errors.Is(err, store.ErrConflict) {
		return "", &hint.Error{Err: fmt.Errorf("there is an operator named %q already", o.Name), Hint: "choose another name"}
	}
	return password, err
}

// AddToken makes an API token for an operator and returns it; the store has its hash.
func AddToken(ctx context.Context, s *store.Store, operator, label string, ttl time.Duration) (string, error) {
	o, err := OperatorNamed(ctx, s, operator)
	if err != nil {
		return "", err
	}
	token, hash := handlers.NewAPIToken()
	now := time.Now()
	_, err = s.AddAPIToken(ctx, hash, store.APIToken{OperatorID: o.ID, Label: label, CreatedAt: now, ExpiresAt: now.Add(ttl)}, LocalRecord())
	return token, err
}
