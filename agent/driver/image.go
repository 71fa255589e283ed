package driver

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
)

// machines are the processors that the driver is made for, by their GOARCH.
var machines = map[string]uint16{
	"amd64": pe.IMAGE_FILE_MACHINE_AMD64,
	"arm64": pe.IMAGE_FILE_MACHINE_ARM64,
}

// checkArch returns an error unless content is a DLL for a processor.
func checkArch(content []byte, arch string) error {
	f, err := pe.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%w: it is no program file: %w", ErrArch, err)
	}
	switch machine, known := machines[arch]; {
	case !known:
		return fmt.Errorf("%w: there is no driver for %s", ErrArch, arch)
	case f.Characteristics&pe.IMAGE_FILE_DLL == 0:
		return fmt.Errorf("%w: it is no DLL", ErrArch)
	case f.Machine != machine:
		return fmt.Errorf("%w: it is for %s", ErrArch, archOf(f.Machine))
	}
	return nil
}

// archOf names a machine.
func archOf(machine uint16) string {
	for arch, m := range machines {
		if m == machine {
			return arch
		}
	}
	return fmt.Sprintf("machine %#x", machine)
}

// fixedInfo is how VS_FIXEDFILEINFO begins. Its signature is at no other place of the resources.
type fixedInfo struct {
	Signature, StructVersion             uint32
	VersionHigh, VersionLow              uint32
	ProductVersionHigh, ProductVersionLo uint32
}

const fixedInfoSignature = 0xfeef04bd

// version returns the version in a DLL's resources, with two numbers at least, or "".
func version(content []byte) string {
	f, err := pe.NewFile(bytes.NewReader(content))
	if err != nil {
		return ""
	}
	section := f.Section(".rsrc")
	if section == nil {
		return ""
	}
	resources, err := section.Data()
	if err != nil {
		return ""
	}
	at := bytes.Index(resources, binary.LittleEndian.AppendUint32(nil, fixedInfoSignature))
	if at < 0 {
		return ""
	}
	var info fixedInfo
	if _, err := binary.Decode(resources[at:], binary.LittleEndian, &info); err != nil {
		return ""
	}
	v := fmt.Sprintf("%d.%d", info.VersionHigh>>16, info.VersionHigh&0xffff)
	if patch := info.VersionLow >> 16; patch != 0 {
		v += fmt.Sprintf(".%d", patch)
	}
	return v
}
