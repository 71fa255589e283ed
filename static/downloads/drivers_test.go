package downloads

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// library makes a signed library for Windows that does nothing; text is its signature.
func library(t *testing.T, machine uint16, text string) []byte {
	t.Helper()
	const header = 0x80
	file := make([]byte, header, 1024)
	copy(file, "MZ")
	binary.LittleEndian.PutUint32(file[0x3c:], header)
	out := bytes.NewBuffer(append(file, "PE\x00\x00"...))
	optional := pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16}
	size := binary.Size(optional)
	if text != "" {
		optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY] = pe.DataDirectory{
			VirtualAddress: uint32(out.Len() + binary.Size(pe.FileHeader{}) + size), Size: uint32(len(text)),
		}
	}
	for _, part := range []any{pe.FileHeader{Machine: machine, SizeOfOptionalHeader: uint16(size)}, optional, []byte(text)} {
		if err := binary.Write(out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// place puts a file where an administrator would; it appears as a whole.
func place(t *testing.T, data, arch string, body []byte) {
	t.Helper()
	path := filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", arch, "wireguard.dll")
	if err := os.WriteFile(path+".new", body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func hashOf(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}

func TestDrivers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	var log bytes.Buffer
	d, err := OpenDrivers(data, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", "README.txt"))
	if err != nil || !strings.Contains(string(page), "amd64/wireguard.dll") {
		t.Errorf("nothing says what belongs there: %v", err)
	}
	for _, arch := range []string{"amd64", "arm64", "386", "", "..", "../amd64"} {
		if _, err := d.For(arch); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q in an empty folder: %v", arch, err)
		}
	}
	one, two := library(t, pe.IMAGE_FILE_MACHINE_AMD64, "signed"), library(t, pe.IMAGE_FILE_MACHINE_AMD64, "SIGNED")
	for _, body := range [][]byte{one, two} { // the same size: only the file tells
		place(t, data, "amd64", body)
		f, err := d.For("amd64")
		if err != nil || f.SHA256 != hashOf(body) || f.Size != int64(len(body)) || f.Arch != "amd64" {
			t.Fatalf("%+v %v", f, err)
		}
		file, got, err := d.OpenSHA256(f.SHA256)
		if err != nil || got != f {
			t.Fatalf("%+v %v", got, err)
		}
		if read, err := io.ReadAll(file); err != nil || !bytes.Equal(read, body) {
			t.Errorf("it is not what was put there: %v", err)
		}
		file.Close()
	}
	path := filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", "amd64", "wireguard.dll")
	if _, err := d.For("arm64/../amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an agent says where the engine looks: %v", err)
	}
	later := time.Now().Add(time.Minute)
	if err := errors.Join(os.WriteFile(path, one, 0o600), os.Chtimes(path, later, later)); err != nil { // in place
		t.Fatal(err)
	}
	if f, err := d.For("amd64"); err != nil || f.SHA256 != hashOf(one) {
		t.Errorf("one that was overwritten: %+v %v", f, err)
	}
	if _, _, err := d.OpenSHA256(hashOf(two)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that was replaced is still handed out: %v", err)
	}
	if n := strings.Count(log.String(), "driver_offered"); n != 3 {
		t.Errorf("%d lines about three drivers:\n%s", n, log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := d.For("amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that was taken away: %v", err)
	}
}

// TestDriverOfNoUse: what an agent would refuse is not offered, and somebody is told why.
func TestDriverOfNoUse(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	var log bytes.Buffer
	d, err := OpenDrivers(data, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	whole := library(t, pe.IMAGE_FILE_MACHINE_AMD64, "signed")
	for says, body := range map[string][]byte{
		"for amd64 processors, and its folder is for arm64": whole,
		"for other processors":                              library(t, pe.IMAGE_FILE_MACHINE_I386, "signed"),
		"is not signed":                                     library(t, pe.IMAGE_FILE_MACHINE_ARM64, ""),
		"cut short":                                         library(t, pe.IMAGE_FILE_MACHINE_ARM64, "signed")[:len(whole)-1],
		"no library for Windows":                            []byte("MZ, or so it says"),
		"no library for Windows, or not a who":              nil,
		"more than 16777216 bytes":                          make([]byte, maxDriver+1),
	} {
		log.Reset()
		place(t, data, "arm64", body)
		for range 2 { // only the first look reads it
			if f, err := d.For("arm64"); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %+v %v", says, f, err)
			}
		}
		if n := strings.Count(log.String(), "driver_unusable"); n != 1 {
			t.Errorf("%s: %d lines:\n%s", says, n, log.String())
		}
		if _, _, err := d.OpenSHA256(hashOf(body)); err == nil {
			t.Errorf("%s: it is handed out", says)
		}
	}
}

// TestDriversKeepWhatIsThere: what an administrator put there survives every start.
func TestDriversKeepWhatIsThere(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if _, err := OpenDrivers(data, nil); err != nil {
		t.Fatal(err)
	}
	body := library(t, pe.IMAGE_FILE_MACHINE_ARM64, "signed")
	place(t, data, "arm64", body)
	page := filepath.Join(data, "Dependencies", "VPN_Tunnel_Adapter", "README.txt")
	if err := os.WriteFile(page, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDrivers(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := d.For("arm64"); err != nil || f.SHA256 != hashOf(body) {
		t.Errorf("%+v %v", f, err)
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != "ours" {
		t.Errorf("the page is %q: %v", got, err)
	}
}

// TestNoDrivers: an engine without the folder works, and one that cannot make it says so.
func TestNoDrivers(t *testing.T) {
	t.Parallel()
	var none *Drivers
	if _, err := none.For("amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := none.OpenSHA256(""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "Dependencies"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDrivers(data, nil); err == nil || !strings.Contains(err.Error(), "make the folders for drivers") {
		t.Error(err)
	}
}
