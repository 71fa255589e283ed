package backup

import (
	"errors"
	"fmt"
	"os"
	"time"

	"filippo.io/age"
)

// NewIdentity writes a new age identity to a new file that only its owner reads, as
// age-keygen does, and returns the recipient that belongs to it, which is no secret.
func NewIdentity(path string) (recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make an identity: %w", err)
	}
	recipient = id.Recipient().String()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make an identity: %w", err)
	}
	_, err = fmt.Fprintf(f, "# created: %s\n# public key: %s\n%s\n", time.Now().Format(time.RFC3339), recipient, id)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("make an identity: %w", full(err))
	}
	return recipient, nil
}
