package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxPasskeys is how many passkeys an operator can have.
const MaxPasskeys = 16

// maxRecoveryCodes is a backstop against what no caller should ask for.
const maxRecoveryCodes = 100

// Factors is what an operator has to prove who it is besides a password.
type Factors struct {
	TOTP         bool // an authenticator app
	Passkeys     []Passkey
	RecoveryLeft int // recovery codes that were not used yet
}

// Any reports whether there is a second factor: an authenticator app or a passkey.
// Recovery codes alone are none.
func (f Factors) Any() bool { return f.TOTP || len(f.Passkeys) > 0 }

// Passkey is one WebAuthn credential of an operator.
type Passkey struct {
	ID           string // UUIDv7
	OperatorID   string
	Name         string // what the operator calls it
	RPID         string // the relying party's id, a host name, that it was made for
	CredentialID []byte // the authenticator's id of it
	Credential   []byte // JSON of the WebAuthn library's credential, which holds no secret
	AddedAt      time.Time
	UsedAt       time.Time // zero: never
}

// Factors returns what an operator has; nothing for an operator that does not exist.
func (s *Store) Factors(ctx context.Context, operatorID string) (f Factors, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		f, err = factors(conn, operatorID)
		return err
	})
	if err != nil {
		return Factors{}, fmt.Errorf("factors of operator %s: %w", operatorID, err)
	}
	return f, nil
}

func factors(conn *sqlite.Conn, operatorID string) (f Factors, err error) {
	_, err = queryOne(conn, "factor_count", named{":operator_id": operatorID}, func(stmt *sqlite.Stmt) (struct{}, error) {
		f.TOTP, f.RecoveryLeft = stmt.GetBool("totp"), int(stmt.GetInt64("recovery"))
		return struct{}{}, nil
	})
	if err == nil {
		f.Passkeys, err = query(conn, "passkey_list", named{":operator_id": operatorID}, passkeyRow)
	}
	return f, err
}

// TOTP returns the sealed secret of an operator's authenticator app, or
// [ErrNotFound] when there is none.
func (s *Store) TOTP(ctx context.Context, operatorID string) ([]byte, error) {
	sealed, err := readOne(ctx, s, "totp_get", named{":operator_id": operatorID}, func(stmt *sqlite.Stmt) ([]byte, error) {
		return blob(stmt, "sealed"), nil
	})
	if err != nil {
		return nil, fmt.Errorf("TOTP of operator %s: %w", operatorID, err)
	}
	return sealed, nil
}

// SetTOTP stores the sealed secret of an operator's authenticator app in place of
// the one before, with the record totp_added. step is the time step of the code that
// proved that the app works: it is used. The error is [ErrNotFound] when there is
// no such operator.
func (s *Store) SetTOTP(ctx context.Context, operatorID string, sealed []byte, step int64, did Record) error {
	err := s.change(ctx, operatorID, did, Record{Kind: totpAdded}, func(conn *sqlite.Conn, _ Operator) error {
		return run(conn, "totp_set", named{
			":operator_id": operatorID, ":sealed": sealed, ":step": step, ":added_at": nanos(orNow(did.At)),
		})
	})
	if err != nil {
		return fmt.Errorf("set TOTP of operator %s: %w", operatorID, err)
	}
	return nil
}

// UseTOTP uses the code of a time step up. It returns nil to exactly one caller,
// and [ErrFactorUsed] to all others, for every earlier step, and for an operator
// without an authenticator app.
func (s *Store) UseTOTP(ctx context.Context, operatorID string, step int64) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := runOne(conn, "totp_use", named{":operator_id": operatorID, ":step": step})
		if errors.Is(err, errNoChange) {
			err = ErrFactorUsed
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("use a one-time code of operator %s: %w", operatorID, err)
	}
	return nil
}

// DeleteTOTP removes an operator's authenticator app, with the record totp_removed,
// or answers [ErrNotFound].
func (s *Store) DeleteTOTP(ctx context.Context, operatorID string, did Record) error {
	err := s.change(ctx, operatorID, did, Record{Kind: totpRemoved}, func(conn *sqlite.Conn, _ Operator) error {
		return runOne(conn, "totp_delete", named{":operator_id": operatorID})
	})
	if err != nil {
		return fmt.Errorf("delete TOTP of operator %s: %w", operatorID, err)
	}
	return nil
}

// AddPasskey stores p, with the record passkey_added, and returns it as stored: an
// empty ID is made and a zero AddedAt is now. The errors are [ErrConflict] when the
// credential is known, [ErrTooManyFactors], and [ErrNotFound] for an unknown
// operator.
func (s *Store) AddPasskey(ctx context.Context, p Passkey, did Record) (Passkey, error) {
	p.ID, p.AddedAt = fill(p.ID, p.AddedAt)
	p.UsedAt = utc(p.UsedAt)
	err := s.change(ctx, p.OperatorID, did, Record{Kind: passkeyAdded, Detail: p.Name}, func(conn *sqlite.Conn, _ Operator) error {
		has, err := query(conn, "passkey_list", named{":operator_id": p.OperatorID}, passkeyRow)
		if err != nil {
			return err
		}
		if len(has) >= MaxPasskeys {
			return fmt.Errorf("%w: the most is %d", ErrTooManyFactors, MaxPasskeys)
		}
		return run(conn, "passkey_add", named{
			":id":            p.ID,
			":operator_id":   p.OperatorID,
			":name":          p.Name,
			":rp_id":         p.RPID,
			":credential_id": p.CredentialID,
			":credential":    p.Credential,
			":added_at":      nanos(p.AddedAt),
			":used_at":       optional(p.UsedAt),
		})
	})
	if err != nil {
		return Passkey{}, fmt.Errorf("add passkey of operator %s: %w", p.OperatorID, err)
	}
	return p, nil
}

// PasskeyByCredential returns the passkey with that credential id, and its
// operator, or [ErrNotFound].
func (s *Store) PasskeyByCredential(ctx context.Context, credentialID []byte) (p Passkey, o Operator, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		p, err = queryOne(conn, "passkey_by_credential", named{":credential_id": credentialID}, passkeyRow)
		if err != nil {
			return err
		}
		o, err = queryOne(conn, "operator_get", named{":id": p.OperatorID}, operatorRow)
		return err
	})
	if err != nil {
		return Passkey{}, Operator{}, fmt.Errorf("passkey: %w", err)
	}
	return p, o, nil
}

// UsePasskey notes that a passkey was used at a time, and what its credential is
// since: a counter has grown. The error is [ErrNotFound] when it was removed.
func (s *Store) UsePasskey(ctx context.Context, id string, credential []byte, at time.Time) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "passkey_use", named{":id": id, ":credential": credential, ":used_at": nanos(orNow(at))})
	})
	if err != nil {
		return fmt.Errorf("use passkey %s: %w", id, err)
	}
	return nil
}

// DeletePasskey removes a passkey of an operator, with the record passkey_removed,
// or answers [ErrNotFound], also when it is another operator's.
func (s *Store) DeletePasskey(ctx context.Context, operatorID, id string, did Record) error {
	err := s.change(ctx, operatorID, did, Record{Kind: passkeyRemoved, Detail: id}, func(conn *sqlite.Conn, _ Operator) error {
		return runOne(conn, "passkey_delete", named{":id": id, ":operator_id": operatorID})
	})
	if err != nil {
		return fmt.Errorf("delete passkey %s: %w", id, err)
	}
	return nil
}

// SetRecoveryCodes gives an operator recovery codes in place of all before, by the
// SHA-256 of each, with the record recovery_codes_made. The error is [ErrNotFound]
// when there is no such operator.
func (s *Store) SetRecoveryCodes(ctx context.Context, operatorID string, hashes [][32]byte, did Record) error {
	if len(hashes) > maxRecoveryCodes {
		return fmt.Errorf("set recovery codes of operator %s: %d are too many", operatorID, len(hashes))
	}
	made := Record{Kind: recoveryCodesMade, Detail: fmt.Sprintf("%d codes", len(hashes))}
	err := s.change(ctx, operatorID, did, made, func(conn *sqlite.Conn, _ Operator) error {
		if err := run(conn, "recovery_clear", named{":operator_id": operatorID}); err != nil {
			return err
		}
		for _, hash := range hashes {
			if err := run(conn, "recovery_add", named{":operator_id": operatorID, ":code_hash": hash[:]}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set recovery codes of operator %s: %w", operatorID, err)
	}
	return nil
}

// UseRecoveryCode uses the recovery code with that SHA-256 up, with the record
// recovery_code_used. It returns nil to exactly one caller, and [ErrNotFound] to all
// others and for a code that never was.
func (s *Store) UseRecoveryCode(ctx context.Context, operatorID string, hash [32]byte, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		if err := runOne(conn, "recovery_use", named{":operator_id": operatorID, ":code_hash": hash[:]}); err != nil {
			return err
		}
		o, err := queryOne(conn, "operator_get", named{":id": operatorID}, operatorRow)
		if err != nil {
			return err
		}
		f, err := factors(conn, operatorID)
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{Kind: recoveryCodeUsed, Target: o.Name, Detail: fmt.Sprintf("%d left", f.RecoveryLeft)}))
	})
	if err != nil {
		return fmt.Errorf("use a recovery code of operator %s: %w", operatorID, err)
	}
	return nil
}

// ResetFactors removes all second factors and recovery codes of an operator and
// ends all of its sessions, with the record factors_reset. The error is
// [ErrNotFound] when there is no such operator.
func (s *Store) ResetFactors(ctx context.Context, operatorID string, did Record) error {
	err := s.change(ctx, operatorID, did, Record{Kind: factorsReset}, func(conn *sqlite.Conn, _ Operator) error {
		for _, statement := range []string{"totp_delete", "passkey_clear", "recovery_clear", "session_clear"} {
			if err := run(conn, statement, named{":operator_id": operatorID}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reset factors of operator %s: %w", operatorID, err)
	}
	return nil
}

func passkeyRow(stmt *sqlite.Stmt) (Passkey, error) {
	return Passkey{
		ID:           stmt.GetText("id"),
		OperatorID:   stmt.GetText("operator_id"),
		Name:         stmt.GetText("name"),
		RPID:         stmt.GetText("rp_id"),
		CredentialID: blob(stmt, "credential_id"),
		Credential:   blob(stmt, "credential"),
		AddedAt:      instant(stmt, "added_at"),
		UsedAt:       instant(stmt, "used_at"),
	}, nil
}
