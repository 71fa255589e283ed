package driver

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dll returns a file with all that is looked at: a DLL for a machine, of version 1.2.3.
func dll(machine uint16) []byte {
	resources := bytes.Repeat([]byte{0xee}, 24)
	resources, _ = binary.Append(resources, binary.LittleEndian, fixedInfo{
		Signature: fixedInfoSignature, VersionHigh: 1<<16 | 2, VersionLow: 3 << 16,
	})
	const headers = 0x40 + 4 + 20 + 40
	file := make([]byte, 0x40)
	copy(file, "MZ")
	binary.LittleEndian.PutUint32(file[0x3c:], 0x40)
	file = append(file, "PE\x00\x00"...)
	file, _ = binary.Append(file, binary.LittleEndian, pe.FileHeader{
		Machine: machine, NumberOfSections: 1, Characteristics: pe.IMAGE_FILE_DLL | pe.IMAGE_FILE_EXECUTABLE_IMAGE,
	})
	section := pe.SectionHeader32{
		VirtualSize: uint32(len(resources)), SizeOfRawData: uint32(len(resources)), PointerToRawData: headers,
	}
	copy(section.Name[:], ".rsrc")
	file, _ = binary.Append(file, binary.LittleEndian, section)
	return append(file, resources...)
}

// put writes the driver's file for amd64 below a new data root.
func put(t *testing.T, content []byte) (data string) {
	t.Helper()
	data = t.TempDir()
	replace(t, Path(data, "amd64"), content)
	return data
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// files returns what is in the folder of the driver for amd64.
func files(t *testing.T, data string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(Path(data, "amd64")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func genuine(string) error { return nil }

func forged(string) error { return ErrSignature }

func TestFind(t *testing.T) {
	t.Parallel()
	content := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	data := put(t, content)
	want := Driver{Path: Path(data, "amd64"), Version: "1.2.3", SHA256: sum(content), Arch: "amd64"}
	for range 2 { // Accepted, and found again.
		got, err := find(data, "amd64", genuine)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{fileName, pinName}, files(t, data)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	good := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	program := bytes.Clone(good)
	program[0x40+4+18+1] &^= pe.IMAGE_FILE_DLL >> 8
	for name, c := range map[string]struct {
		content []byte
		signed  func(string) error
		want    error
		says    string
	}{
		"another processor": {dll(pe.IMAGE_FILE_MACHINE_ARM64), genuine, ErrArch, "it is for arm64; put the file for amd64 there"},
		"another machine":   {dll(pe.IMAGE_FILE_MACHINE_I386), genuine, ErrArch, "machine 0x14c"},
		"a program":         {program, genuine, ErrArch, "no DLL"},
		"text":              {[]byte("hello"), genuine, ErrArch, "no program file"},
		"nothing":           {nil, genuine, ErrArch, "no program file"},
		"half of it":        {good[:0x50], genuine, ErrArch, "no program file"},
		"too long":          {append(bytes.Clone(good), make([]byte, MaxSize)...), genuine, ErrArch, "more than"},
		"forged":            {good, forged, ErrSignature, "not signed by WireGuard LLC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := put(t, c.content)
			_, err := find(data, "amd64", c.signed)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
			if diff := cmp.Diff([]string{fileName}, files(t, data)); diff != "" {
				t.Errorf("what was refused has left something: %s", diff)
			}
		})
	}
}

func TestFindNothing(t *testing.T) {
	t.Parallel()
	if _, err := Find(t.TempDir()); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	if _, err := find(put(t, nil), "mips", genuine); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
}

// TestFindAfterChange replaces a driver that was accepted, even by a genuine one.
func TestFindAfterChange(t *testing.T) {
	t.Parallel()
	data := put(t, dll(pe.IMAGE_FILE_MACHINE_AMD64))
	first, err := find(data, "amd64", genuine)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, first.Path, append(dll(pe.IMAGE_FILE_MACHINE_AMD64), 0))
	_, err = find(data, "amd64", genuine)
	if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "delete "+pinName) {
		t.Fatalf("got %v, want %v", err, ErrChanged)
	}
	replace(t, pinOf(first.Path), []byte("what is this"))
	if _, err := find(data, "amd64", genuine); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want %v", err, ErrChanged)
	}
	if err := os.Remove(pinOf(first.Path)); err != nil {
		t.Fatal(err)
	}
	if second, err := find(data, "amd64", genuine); err != nil || second.SHA256 == first.SHA256 {
		t.Errorf("got %v, %v after the pin was deleted", second, err)
	}
}

// TestFindPinned takes a hash that an administrator wrote down first, as sha256sum prints it.
func TestFindPinned(t *testing.T) {
	t.Parallel()
	content := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	data := put(t, content)
	pin := pinOf(Path(data, "amd64"))
	replace(t, pin, []byte(strings.ToUpper(sum(content))+" *wireguard.dll\r\n"))
	if _, err := find(data, "amd64", genuine); err != nil {
		t.Error(err)
	}
	replace(t, pin, []byte(sum(nil)))
	if _, err := find(data, "amd64", genuine); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want %v", err, ErrChanged)
	}
}

// TestVersion looks for a version where there is none, or only the start of one.
func TestVersion(t *testing.T) {
	t.Parallel()
	whole := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	cut := bytes.Clone(whole)
	copy(cut[len(cut)-24:], make([]byte, 20)) // The signature is gone.
	start := bytes.Clone(whole)
	copy(start[len(start)-4:], binary.LittleEndian.AppendUint32(nil, fixedInfoSignature))
	copy(start[len(start)-24:], make([]byte, 20))
	bare := bytes.Replace(bytes.Clone(whole), []byte(".rsrc"), []byte(".text"), 1)
	for name, content := range map[string][]byte{"none": cut, "a start": start, "no resources": bare, "no file": nil, "cut off": whole[:len(whole)-30]} {
		if got := version(content); got != "" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := version(whole); got != "1.2.3" {
		t.Errorf("got %q", got)
	}
}

// FuzzImage takes any bytes for a driver.
func FuzzImage(f *testing.F) {
	f.Add(dll(pe.IMAGE_FILE_MACHINE_AMD64))
	f.Add(dll(pe.IMAGE_FILE_MACHINE_ARM64)[:0x60])
	f.Fuzz(func(t *testing.T, content []byte) {
		if v := version(content); v != "" && !strings.Contains(v, ".") {
			t.Errorf("version %q", v)
		}
		if checkArch(content, "amd64") == nil && checkArch(content, "arm64") == nil {
			t.Error("it is for two processors")
		}
	})
}
