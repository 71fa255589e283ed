package driver

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pinOf returns where the hash of a driver's file is written down, as sha256sum writes it.
func pinOf(path string) string { return filepath.Join(filepath.Dir(path), pinName) }

// readPin returns the hash that was written down for a file, or "" when none was.
func readPin(path string) (string, error) {
	text, err := os.ReadFile(pinOf(path))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the hash of the WireGuardNT driver: %w", err)
	}
	pin, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pin = strings.ToLower(pin)
	if b, err := hex.DecodeString(pin); err != nil || len(b) != len(sum(nil))/2 {
		return "", fmt.Errorf("%s: %w: this is no SHA-256; delete it if you trust the %s beside it", pinOf(path), ErrChanged, fileName)
	}
	return pin, nil
}

// writePin writes the hash of a file down, at once and whole.
func writePin(path, hash string) error {
	temp := pinOf(path) + ".new"
	defer os.Remove(temp) // It is gone when all went well.
	err := write(temp, []byte(hash+"  "+fileName+"\n"))
	if err == nil {
		err = os.Rename(temp, pinOf(path))
	}
	if err != nil {
		return fmt.Errorf("write down the hash of the WireGuardNT driver: %w", err)
	}
	return nil
}
