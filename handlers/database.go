package handlers

import (
	"errors"
	"net/http"

	"borealis/store"
	"borealis/views"
)

// What is refused because of the engine's database. Programs rely on these words.
const (
	codeDiskFull     code = "disk_full"
	codeDatabaseBusy code = "database_busy"
	codeDatabaseLost code = "database_failed"
)

// databaseKind is kind for what is refused because of the engine's database.
func (c code) databaseKind() (status int, title, hint string) {
	switch c {
	case codeDiskFull:
		return http.StatusServiceUnavailable, "The engine's disk is full", "Free some space on the disk of the engine's data root and try again: it goes on by itself."
	case codeDatabaseBusy:
		return http.StatusServiceUnavailable, "The database is busy", "Try again in a moment. When it stays so, find the program that keeps the engine's database open, such as a backup tool or sqlite3."
	case codeDatabaseLost:
		return http.StatusServiceUnavailable, "The database cannot be written", "The engine ends and is started again by its supervisor. Look at its log and at the disk."
	}
	return http.StatusInternalServerError, "Something went wrong in the engine", "Try again; the engine's log says what it was."
}

// databaseFailure is failureOf for what the engine's database does not take at present; nil
// when it is something else.
func databaseFailure(err error) *failure {
	switch {
	case errors.Is(err, store.ErrFull):
		return refuse(codeDiskFull, "The disk is full: what is done has to be recorded, and cannot be. Nothing was changed.")
	case errors.Is(err, store.ErrBusy):
		return refuse(codeDatabaseBusy, "Another program holds the engine's database. Nothing was changed.")
	case errors.Is(err, store.ErrFailed):
		return refuse(codeDatabaseLost, "The engine's database cannot be written any more.")
	}
	return nil
}

// readOnlyBanner tells everybody that nothing can be recorded, and so nothing be done.
func readOnlyBanner(cause error) views.Note {
	const meanwhile = "Until then the console only shows: nobody can connect to a device or change anything, and after a minute every tunnel ends. "
	switch {
	case errors.Is(cause, store.ErrFull):
		return views.Note{
			Kind: "err", Text: "The disk is full: the engine's database cannot be written.",
			Hint: meanwhile + "Free some space on the disk of the engine's data root; it goes on by itself within seconds.",
		}
	case errors.Is(cause, store.ErrBusy):
		return views.Note{
			Kind: "err", Text: "Another program holds the engine's database: it cannot be written.",
			Hint: meanwhile + "End that program, such as a backup tool or sqlite3; it goes on by itself within seconds.",
		}
	}
	return views.Note{
		Kind: "err", Text: sentence(cause.Error()) + ".",
		Hint: meanwhile + "Look at the disk and the engine's log.",
	}
}
