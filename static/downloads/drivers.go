package downloads

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// DriverName is the file of WireGuardNT's driver, which only an administrator can get:
// its licence does not let this program carry it.
const DriverName = "wireguard.dll"

// maxDriver bounds a driver; the real one has about 1 MB.
const maxDriver = 16 << 20 // bytes

// driverFolder is where drivers are, below a data root.
var driverFolder = filepath.Join("Dependencies", "VPN_Tunnel_Adapter")

// DriverArchs are the processors that there are drivers for, as Go names them.
func DriverArchs() []string { return []string{"amd64", "arm64"} }

// howToGet is put beside the empty folders.
const howToGet = `The driver for tunnels of Windows devices

Put wireguard.dll (WireGuardNT, from https://download.wireguard.com/wireguard-nt/) here:

  amd64/wireguard.dll    for 64-bit Intel and AMD processors
  arm64/wireguard.dll    for ARM processors

The engine offers it to the agents on Windows when they connect. They check its hash and
its signature, keep it, and use it from the next start of their service on. Without it
their tunnels work inside the agent, which needs no driver.

What is here is never changed or deleted by Borealis. To offer another version, replace
the file; a restart is not needed.
`

// Drivers are the WireGuardNT drivers that an administrator put into the engine's data
// root, at Dependencies/VPN_Tunnel_Adapter/ARCH/wireguard.dll. They may be put there,
// replaced and taken away while the engine runs. It is safe for concurrent use.
type Drivers struct {
	folder string
	log    *slog.Logger

	mu   sync.Mutex
	read map[string]driver // by processor
}

// A driver is what was read last from a file.
type driver struct {
	info fs.FileInfo // of the file then
	file File
	body []byte
	err  error // why it is of no use
}

// OpenDrivers makes the folders for drivers below a data root, with a page that says what
// belongs there, and reads what is there. It changes nothing that exists. The logger
// gets a line when a file is taken, and one when it is of no use; nil is silent.
func OpenDrivers(data string, log *slog.Logger) (*Drivers, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Drivers{folder: filepath.Join(data, driverFolder), log: log, read: make(map[string]driver)}
	if err := d.makeFolders(); err != nil {
		return nil, fmt.Errorf("make the folders for drivers: %w", err)
	}
	for _, arch := range DriverArchs() {
		d.look(arch)
	}
	return d, nil
}

// makeFolders makes what is missing.
func (d *Drivers) makeFolders() error {
	for _, arch := range DriverArchs() {
		if err := os.MkdirAll(filepath.Join(d.folder, arch), 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(d.folder, "README.txt"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(howToGet)
	return errors.Join(err, f.Close())
}

// For is the driver for a processor, as Go names it. The error is [fs.ErrNotExist] when
// there is none, and else says why the file is of no use. Nil Drivers have none.
func (d *Drivers) For(arch string) (File, error) {
	one := d.look(arch)
	return one.file, one.err
}

// OpenSHA256 opens the driver with a hash in lower-case hexadecimal. The error is
// [fs.ErrNotExist] when there is none. The caller closes what is returned.
func (d *Drivers) OpenSHA256(sum string) (io.ReadSeekCloser, File, error) {
	for _, arch := range DriverArchs() {
		if one := d.look(arch); one.err == nil && one.file.SHA256 == sum {
			return content{bytes.NewReader(one.body)}, one.file, nil
		}
	}
	return nil, File{}, fmt.Errorf("open the driver: %w", fs.ErrNotExist)
}

// content is a file in memory, which nobody has to close.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

// look is what there is for a processor. The file is read when it is not the one that
// was read last; what is handed out is what was checked, whatever becomes of the file.
func (d *Drivers) look(arch string) driver {
	if d == nil || !slices.Contains(DriverArchs(), arch) {
		return driver{err: fs.ErrNotExist}
	}
	path := filepath.Join(d.folder, arch, DriverName)
	info, err := os.Stat(path)
	if err != nil {
		info = nil // as far as anybody can see
	}
	d.mu.Lock()
	last := d.read[arch]
	d.mu.Unlock()
	if sameFile(info, last.info) {
		if info == nil {
			last.err = err
		}
		return last
	}
	now := driver{info: info, err: err}
	if err == nil {
		now = readDriver(path, arch, info)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if sameFile(info, d.read[arch].info) {
		return d.read[arch] // somebody else was faster
	}
	d.read[arch] = now
	switch {
	case now.err == nil:
		d.log.Info("driver_offered", "path", path, "sha256", now.file.SHA256)
	case !errors.Is(now.err, fs.ErrNotExist):
		d.log.Warn("driver_unusable", "path", path, "err", now.err)
	}
	return now
}

// sameFile reports whether two looks found the same: nothing, or a file that nobody has
// changed between them.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readDriver reads the driver for a processor from a file that looked like info before:
// when it changes meanwhile, the next look sees it.
func readDriver(path, arch string, info fs.FileInfo) driver {
	d := driver{info: info}
	f, err := os.Open(path)
	if err != nil {
		d.err = fmt.Errorf("it cannot be read: %w", err)
		return d
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxDriver+1))
	switch {
	case err != nil:
		d.err = fmt.Errorf("it cannot be read: %w", err)
	case len(body) > maxDriver:
		d.err = fmt.Errorf("it has more than %d bytes, which is not WireGuardNT", maxDriver)
	default:
		d.err = checkDriver(body, arch)
	}
	if d.err == nil {
		sum := sha256.Sum256(body)
		d.body, d.file = body, File{Name: DriverName, OS: "windows", Arch: arch, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
	}
	return d
}

// checkDriver says why a file cannot be the driver for a processor. It is what an agent
// would refuse, and a file that is still being copied; whose signature it is, the agent
// asks its Windows.
func checkDriver(body []byte, arch string) error {
	p, err := pe.NewFile(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("it is no library for Windows, or not a whole one: %w", err)
	}
	machine := map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64"}[p.Machine]
	if machine != arch {
		return fmt.Errorf("it is for %s processors, and its folder is for %s", cmp.Or(machine, "other"), arch)
	}
	header, ok := p.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return errors.New("it is no 64-bit library")
	}
	signature := header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY] // its address is a place in the file
	if signature.Size == 0 {
		return errors.New("it is not signed, and agents would refuse it")
	}
	if int64(signature.VirtualAddress)+int64(signature.Size) > int64(len(body)) {
		return errors.New("it is cut short")
	}
	return nil
}
