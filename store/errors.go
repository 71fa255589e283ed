package store

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// What callers tell apart, with [errors.Is]. Errors that wrap these say more.
var (
	// ErrNotFound means that no row has that id, name, hash or key.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the row would be the second of something that
	// exists once: a name, a pin, a hash, an open tunnel of a device. It is also
	// the answer to a change of a tunnel that has ended.
	ErrConflict = errors.New("already exists")
	// ErrCode means that no enrolment code has that hash.
	ErrCode = errors.New("unknown enrolment code")
	// ErrCodeUsed means that the enrolment code has no uses left.
	ErrCodeUsed = errors.New("enrolment code has been used up")
	// ErrCodeExpired means that the enrolment code is too old.
	ErrCodeExpired = errors.New("enrolment code has expired")
	// ErrTooManyPending means that [MaxPending] devices wait for approval already.
	ErrTooManyPending = errors.New("too many devices are waiting for approval")
	// ErrTokenUsed means that a tunnel token is unknown, expired, void or used.
	ErrTokenUsed = errors.New("tunnel token is not valid any more")
	// ErrRevision means that somebody changed the overrides since the caller has
	// seen them.
	ErrRevision = errors.New("overrides were changed meanwhile")
	// ErrPoolExhausted means that every address of the pool has been given.
	ErrPoolExhausted = errors.New("no virtual IP address is left in the pool")
	// ErrLastAdmin means that the change would leave the engine without an
	// administrator who is not locked.
	ErrLastAdmin = errors.New("the last administrator must stay")
	// ErrFactorUsed means that a one-time code, or a later one, was used already.
	ErrFactorUsed = errors.New("one-time code was used already")
	// ErrTooManyFactors means that an operator has [MaxPasskeys] passkeys already.
	ErrTooManyFactors = errors.New("operator has too many passkeys")
	// ErrNotVerified means that no second factor was proven since, or that the
	// proof was spent already.
	ErrNotVerified = errors.New("second factor has not been proven")
	// ErrReplaces means that the caller has to decide what becomes of the device
	// that was known on the same machine before.
	ErrReplaces = errors.New("another device of the same machine is still trusted")

	// ErrNewer means that the database was made by a newer Borealis.
	ErrNewer = errors.New("database is newer than this program")
	// ErrForeign means that the file is a database of another program.
	ErrForeign = errors.New("not a Borealis database")
	// ErrDamaged means that the file is not a sound database.
	ErrDamaged = errors.New("database is damaged")
	// ErrBusy means that another process held the database for too long.
	ErrBusy = errors.New("database is busy in another process")
	// ErrFull means that the disk of the database is full. It passes.
	ErrFull = errors.New("disk is full")
	// ErrFailed means that the database cannot be written any more, see [Store.Failed].
	ErrFailed = errors.New("database cannot be written any more")
	// ErrClosed means that the store was closed before the call.
	ErrClosed = errors.New("store is closed")
)

// explain turns what SQLite reports into the errors of this package and, where
// the caller's own context was the cause, of the context.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	code := sqlite.ErrCode(err)
	switch code.ToPrimary() {
	case sqlite.ResultInterrupt:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return ErrClosed
	case sqlite.ResultBusy:
		return fmt.Errorf("%w (%w)", ErrBusy, err)
	case sqlite.ResultFull:
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %w; restore a backup", ErrDamaged, err)
	case sqlite.ResultConstraint:
		return explainConstraint(code, err)
	default:
		if code == sqlite.ResultIOErrSHMSize {
			return fmt.Errorf("%w (%w)", ErrFull, err)
		}
		return err
	}
}

// explainConstraint is explain for a change that the schema does not allow.
func explainConstraint(code sqlite.ResultCode, err error) error {
	switch code {
	case sqlite.ResultConstraintUnique, sqlite.ResultConstraintPrimaryKey:
		return fmt.Errorf("%w (%w)", ErrConflict, err)
	case sqlite.ResultConstraintForeignKey:
		return fmt.Errorf("%w (%w)", ErrNotFound, err)
	default:
		return err
	}
}
