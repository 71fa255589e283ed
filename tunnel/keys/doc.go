// Package keys makes and loads the keys of an engine or an agent.
//
// An engine and an agent are each known by one Ed25519 identity key, and each
// names the other by a [Pin], the SHA-256 of that key. There is no certificate
// authority: the self-signed certificate around an identity key carries it
// through TLS and says nothing else. Keys are made once, when absent; a file
// that is damaged, missing beside its partner or readable by others is an error
// for a person to settle and never a reason to make a new key.
package keys
