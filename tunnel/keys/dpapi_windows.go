package keys

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"

	"borealis/tunnel/keys/seal"
)

// boxFile has the key that an agent's identity is sealed under, protected by Windows.
const boxFile = "seal.dpapi"

// entropy keeps other programs' blobs from being taken for ours, and ours from opening by a
// mere call. It is no secret: who may read the file is what the folder's access list says.
var entropy = []byte("borealis agent seal key v1")

// openAgentBox returns the box that the secrets of the agent in dir are sealed under. Its key
// is made when there is none, and is worth nothing on another machine.
func openAgentBox(dir string) (*seal.Box, error) {
	box, err := readAgentBox(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return box, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	box, err = readAgentBox(dir)
	if !errors.Is(err, fs.ErrNotExist) { // Another process was faster.
		return box, err
	}
	path := filepath.Join(dir, boxFile)
	if b, err := readSecret(filepath.Join(dir, agentKey)); err == nil && seal.IsSealed(b) {
		return nil, fmt.Errorf("%s is missing, and with it the key of %s: restore it, or %s", path, agentKey, enrolAnew)
	}
	var key [32]byte
	rand.Read(key[:]) // Never fails.
	blob, err := protectData(key[:])
	if err != nil {
		return nil, fmt.Errorf("protect %s: %w", path, err)
	}
	if err := writeNew(path, blob); err != nil {
		return nil, err
	}
	return seal.New(key), nil
}

// readAgentBox returns the box whose key is in dir. The error is fs.ErrNotExist when there
// is none.
func readAgentBox(dir string) (*seal.Box, error) {
	path := filepath.Join(dir, boxFile)
	blob, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	key, err := unprotectData(blob)
	if err == nil && len(key) != 32 {
		err = errors.New("it holds something else")
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened on this device: it is damaged, was copied from another one, or Windows was installed anew: %w: %s",
			path, err, enrolAnew)
	}
	return seal.New([32]byte(key)), nil
}

// protectData encrypts b with the machine's key of DPAPI: any service of this machine can open
// it, and none of another one.
func protectData(b []byte) ([]byte, error) {
	var out windows.DataBlob
	err := windows.CryptProtectData(blobOf(b), nil, blobOf(entropy), 0, nil,
		windows.CRYPTPROTECT_LOCAL_MACHINE|windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, err
	}
	return taken(out), nil
}

// unprotectData decrypts what protectData made on this machine.
func unprotectData(b []byte) ([]byte, error) {
	var out windows.DataBlob
	err := windows.CryptUnprotectData(blobOf(b), nil, blobOf(entropy), 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, err
	}
	return taken(out), nil
}

// blobOf is b as Windows wants it. It shares b's memory.
func blobOf(b []byte) *windows.DataBlob {
	return &windows.DataBlob{Size: uint32(len(b)), Data: unsafe.SliceData(b)} //nolint:gosec // a key file is under 64 KiB
}

// taken is a copy of what Windows returned, which is freed.
func taken(out windows.DataBlob) []byte {
	b := unsafe.Slice(out.Data, out.Size)
	defer func() {
		clear(b)
		_, _ = windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data)))
	}()
	return bytes.Clone(b)
}
