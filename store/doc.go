// Package store keeps the engine's devices, operators, sessions, overrides, tunnels and audit trail in one SQLite file.
//
// # The file
//
// A database is three files beside each other: borealis.db, borealis.db-wal
// and borealis.db-shm. Only a closed database is complete in the first one, so
// a copy taken while a store is open must take all three or, better, be made by
// SQLite itself. The files are readable by their owner only; a directory that
// [Open] has to make is mode 0700.
//
// Every table is STRICT, every time is an integer of nanoseconds since 1970 in
// UTC, every virtual IP address is an IPv4 address as an integer, and every
// secret that arrives here is a SHA-256 hash already, or sealed: no session cookie,
// API token, enrolment code, recovery code, one-time code's secret, private key or
// pre-shared key is ever stored as it is.
//
// Statements are in sql/, one in each file. The schema is the sum of the
// scripts in sql/migrations/, which are only ever appended to; the number of the
// last one applied is the database's user_version, and its application_id says
// that it is ours. A database made by a newer Borealis is refused ([ErrNewer])
// and not touched.
//
// # The audit chain
//
// What changes who may do what, and what anybody did with a device, is a line of the
// table audit. A method that takes such a [Record] writes it in the same transaction
// as the change: there is no change without its line, and no line without its change.
// When the line cannot be written, because the disk is full, say, nothing happens.
// Only traces of use are changed without a line, such as when a device was last seen,
// how far a tunnel has come, or that a one-time code is used up.
//
// Lines are numbered from 1 without gaps, and triggers forbid to change, remove or
// replace one. Whoever can write to the file can drop the triggers, so each line also
// holds a hash over itself and over the hash of the line before, which is described
// at [Record.Digest]: to change a line is to change every hash that follows it.
// Somebody who knows one of these hashes, or has a [Checkpoint] that the engine signed
// and keeps it elsewhere, can tell that the lines up to it are the ones that were
// written. [Store.EachRecord] walks along the chain to verify or to export it.
//
// Appending reads the last line and writes the next one inside a transaction that
// nobody else can write in, so that the chain is one however many processes append.
//
// Records and devices are read within a [Scope]: an operator who is held to some sites
// does not get to know of anything at others. The zero Scope is nothing, so that
// whoever forgets it shows too little and not too much.
//
// # Locking
//
// SQLite lets one connection write at a time. A store has one connection for
// writing, which its callers take in turn, and a few read-only ones, so readers
// never wait for a writer and see whole transactions only. Other processes may
// open the same file, such as an administrator's command beside a running
// engine: their writers wait for each other up to five seconds, then the call
// answers [ErrBusy].
//
// A method that writes is one transaction and one fsync: when it returns nil the
// change survives a power cut, when it returns an error nothing has changed. The
// context decides how long a writer waits for its turn. A transaction that has
// begun is short and is always finished, whatever happens to the context.
//
// # Closing
//
// Whoever called [Open] calls [Store.Close], once nobody uses the store any more.
// Close waits for the writer at work, interrupts the readers, and folds the
// write-ahead log into the main file. Calls that come later answer [ErrClosed].
// A process that is killed instead loses nothing that was acknowledged.
package store
