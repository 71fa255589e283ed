package agent

import "crypto/ed25519"

// OpenRelease is Open for a program of a release, which takes updates of a publisher: a
// build is of one release for good.
func OpenRelease(c Config, sequence int64, publisher ed25519.PublicKey) (*Agent, error) {
	u := newUpdates(c)
	u.sequence, u.publisher = sequence, publisher
	return open(c, u)
}
