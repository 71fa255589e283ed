package store

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// OperatorByIdentity returns the operator whom an OpenID provider, known by its
// issuer, knows under that subject, or [ErrNotFound].
func (s *Store) OperatorByIdentity(ctx context.Context, issuer, subject string) (Operator, error) {
	o, err := readOne(ctx, s, "operator_by_identity", named{":issuer": issuer, ":subject": subject}, operatorRow)
	if err != nil {
		return Operator{}, fmt.Errorf("operator of subject %q at %s: %w", subject, issuer, err)
	}
	return o, nil
}

// AddOIDCOperator is [Store.AddOperator] for somebody whom an OpenID provider, known
// by its issuer, knows under a subject. Without a password hash only the provider
// lets the operator in. The error is [ErrConflict] when the name or the identity is
// taken.
func (s *Store) AddOIDCOperator(ctx context.Context, o Operator, issuer, subject string, did Record) (Operator, error) {
	if issuer == "" || subject == "" {
		return Operator{}, errors.New("add operator: issuer and subject must not be empty")
	}
	if did.Detail == "" {
		did.Detail = fmt.Sprintf("%s; from %s, subject %s", describeRole(o), issuer, subject)
	}
	return s.addOperator(ctx, o, did, func(conn *sqlite.Conn, o Operator) error {
		return run(conn, "identity_add", named{":issuer": issuer, ":subject": subject, ":operator_id": o.ID})
	})
}
