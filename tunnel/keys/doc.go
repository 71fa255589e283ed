// Package keys makes and loads the keys of an engine or an agent.
//
// An engine and an agent are each known by one Ed25519 identity key, and each
// names the other by a [Pin], the SHA-256 of that key. There is no certificate
// authority: the self-signed certificate around an identity key carries it
// through TLS and says nothing else. An engine's identity can be rotated: the one
// before vouches for the next, so that agents follow.
//
// Keys are made once, when absent; a file that is damaged, missing beside its
// partner, readable by others or sealed under another key is an error for a person
// to settle and never a reason to make a new key. An engine's private keys are
// sealed at rest, see package seal; so is an agent's on Windows, under a key that only the
// machine itself can open. Elsewhere the modes of its files guard it.
package keys
