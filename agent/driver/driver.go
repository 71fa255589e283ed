// Package driver finds the WireGuardNT driver of an administrator and tells whether it is genuine.
//
// The driver is one file, wireguard.dll, which its makers sign and which may not come with this
// program. An administrator puts it on the device, or on the engine, which serves it to its
// agents. Before it is used it passes four checks: it is for this processor, it is the very file
// that was accepted first, Windows finds its signature good, and WireGuard LLC has signed it.
// Nothing here loads it, and nothing ever deletes or replaces it.
package driver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

const (
	// MaxSize is how long the file may be, in bytes. Version 1.0 has 1.4 million.
	MaxSize = 16 << 20

	fileName = "wireguard.dll"
	tempName = "wireguard.new.dll" // Still a DLL by its name, for those who judge by it.
	pinName  = "wireguard.dll.sha256"
)

// What the file lacks. The errors of [Find] and [Keep] wrap one of them, or one of the system.
var (
	// ErrAbsent means that there is no file. It is no fault.
	ErrAbsent = errors.New("there is no " + fileName)
	// ErrArch means that the file is for another processor, or no DLL at all.
	ErrArch = errors.New("the file is not for this processor")
	// ErrChanged means that the file is not the one that was accepted first.
	ErrChanged = errors.New("the file is not the one that was accepted before")
	// ErrSignature means that Windows does not find the signature good, or that it is not
	// WireGuard LLC's.
	ErrSignature = errors.New("the file is not signed by " + signer)
	// ErrDamaged means that what the engine served is not what it said.
	ErrDamaged = errors.New("the file came damaged")
	// ErrKept means that another file is there, which [Keep] leaves alone.
	ErrKept = errors.New("another " + fileName + " is there and stays")
)

// signer is the subject of the certificate that the file is signed with.
const signer = "WireGuard LLC"

// Driver is a file that has passed all checks.
type Driver struct {
	Path    string // Full path.
	Version string // Of the file, as 1.0, or "" when it says none.
	SHA256  string // In hexadecimal, lower case.
	Arch    string // What it is for, as GOARCH has it.
}

// Path returns where the file belongs, below the data root of an agent or an engine, for a
// processor that is named as GOARCH has it.
func Path(data, arch string) string {
	return filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", arch, fileName)
}

// Find returns the driver for this processor below a data root. A file that is found for the
// first time is accepted if it is genuine, and its hash is written down beside it. From then on
// any other is [ErrChanged], until a person deletes what was written. Outside Windows nobody can
// check the signature, and the error is [errors.ErrUnsupported].
func Find(data string) (Driver, error) {
	return find(data, runtime.GOARCH, signed)
}

// find is Find for a processor, and a way to check a file's signature.
func find(data, arch string, signed func(path string) error) (Driver, error) {
	path, err := filepath.Abs(Path(data, arch))
	if err != nil {
		return Driver{}, fmt.Errorf("find the WireGuardNT driver: %w", err)
	}
	content, err := read(path)
	if err != nil {
		return Driver{}, err
	}
	d := Driver{Path: path, SHA256: sum(content), Arch: arch}
	if err := checkArch(content, arch); err != nil {
		return Driver{}, fmt.Errorf("%s: %w; put the file for %s there", path, err, arch)
	}
	pinned, err := readPin(path)
	if err != nil {
		return Driver{}, err
	}
	if pinned != "" && pinned != d.SHA256 {
		return Driver{}, fmt.Errorf("%s: %w: its SHA-256 is %s; if you replaced it yourself, delete %s beside it", path, ErrChanged, d.SHA256, pinName)
	}
	if err := signed(path); err != nil {
		return Driver{}, fmt.Errorf("%s: %w", path, err)
	}
	if pinned == "" {
		if err := writePin(path, d.SHA256); err != nil {
			return Driver{}, err
		}
	}
	d.Version = version(content)
	return d, nil
}

// Keep stores the driver for this processor below a data root, as the engine serves it, with its
// SHA-256 in hexadecimal and its size in bytes. It must pass the checks of [Find] before it is
// put in place, at once and whole. A file that is there already is never touched: it is
// [ErrKept] unless it is the same. When Keep fails, nothing has changed.
func Keep(data, want string, size int64, r io.Reader) error {
	return keep(Path(data, runtime.GOARCH), runtime.GOARCH, want, size, r, signed)
}

// keep is Keep for a full path, a processor, and a way to check a file's signature.
func keep(path, arch, want string, size int64, r io.Reader, signed func(path string) error) error {
	switch there, err := read(path); {
	case err == nil && sum(there) == want:
		return nil
	case err == nil:
		return fmt.Errorf("%s: %w", path, ErrKept)
	case !errors.Is(err, ErrAbsent):
		return err
	}
	if pinned, err := readPin(path); err != nil {
		return err
	} else if pinned != "" && pinned != want {
		return fmt.Errorf("%s: %w: the engine has one with SHA-256 %s; to accept it, delete %s in its folder", path, ErrChanged, want, pinName)
	}
	content, err := receive(want, size, r)
	if err != nil {
		return err
	}
	if err := checkArch(content, arch); err != nil {
		return fmt.Errorf("what the engine has as the WireGuardNT driver for %s: %w", arch, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the WireGuardNT driver: %w", err)
	}
	temp := filepath.Join(filepath.Dir(path), tempName)
	defer os.Remove(temp) // It is gone when all went well.
	if err := write(temp, content); err != nil {
		return fmt.Errorf("store the WireGuardNT driver: %w", err)
	}
	if err := signed(temp); err != nil {
		return fmt.Errorf("what the engine has as the WireGuardNT driver: %w", err)
	}
	if err := writePin(path, want); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(fmt.Errorf("store the WireGuardNT driver: %w", err), os.Remove(pinOf(path)))
	}
	return nil
}

// receive reads a file that has a size and a hash.
func receive(want string, size int64, r io.Reader) ([]byte, error) {
	if size < 1 || size > MaxSize {
		return nil, fmt.Errorf("the WireGuardNT driver of the engine has %d bytes, which is not between 1 and %d", size, MaxSize)
	}
	content, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return nil, fmt.Errorf("receive the WireGuardNT driver: %w", err)
	}
	if got := sum(content); int64(len(content)) != size || got != want {
		return nil, fmt.Errorf("receive the WireGuardNT driver: %w: SHA-256 %s, want %s", ErrDamaged, got, want)
	}
	return content, nil
}

// read returns the content of a driver's file.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrAbsent, filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("read the WireGuardNT driver: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the WireGuardNT driver: %w", err)
	}
	if len(content) > MaxSize {
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrArch, MaxSize)
	}
	return content, nil
}

// write makes a file, in the place of one that a crash left behind.
func write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func sum(content []byte) string {
	s := sha256.Sum256(content)
	return hex.EncodeToString(s[:])
}
