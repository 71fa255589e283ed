// Package factor checks what operators prove themselves with: passwords, one-time codes, recovery codes and passkeys.
package factor
