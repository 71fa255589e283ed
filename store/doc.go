// Package store keeps the engine's devices, operators, sessions, overrides, tunnels and activity in one SQLite file.
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
// secret that arrives here is a SHA-256 hash already: no session cookie, API
// token, enrolment code, private key or pre-shared key is ever stored.
//
// Statements are in sql/, one in each file. The schema is the sum of the
// scripts in sql/migrations/, which are only ever appended to; the number of the
// last one applied is the database's user_version, and its application_id says
// that it is ours. A database made by a newer Borealis is refused ([ErrNewer])
// and not touched.
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
