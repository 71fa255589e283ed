package driver

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	wintrust          = windows.NewLazySystemDLL("wintrust.dll")
	providerOf        = wintrust.NewProc("WTHelperProvDataFromStateData")
	signerOfProvider  = wintrust.NewProc("WTHelperGetProvSignerFromChain")
	certificateSigner = wintrust.NewProc("WTHelperGetProvCertFromChain")
)

// providerCertificate is how CRYPT_PROVIDER_CERT begins.
type providerCertificate struct {
	_           uint32 // Its size.
	certificate *windows.CertContext
}

// signed returns nil if Windows finds the signature of a file good, and it is the signer's. It asks
// nobody on the network: a device may have no way out but to its engine.
func signed(path string) error {
	path16, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return fmt.Errorf("check the signature: %w", err)
	}
	file := windows.WinTrustFileInfo{FilePath: path16}
	file.Size = uint32(unsafe.Sizeof(file))
	data := windows.WinTrustData{
		UIChoice:                        windows.WTD_UI_NONE,
		RevocationChecks:                windows.WTD_REVOKE_NONE,
		UnionChoice:                     windows.WTD_CHOICE_FILE,
		StateAction:                     windows.WTD_STATEACTION_VERIFY,
		FileOrCatalogOrBlobOrSgnrOrCert: unsafe.Pointer(&file),
		ProvFlags:                       windows.WTD_REVOCATION_CHECK_NONE | windows.WTD_CACHE_ONLY_URL_RETRIEVAL | windows.WTD_DISABLE_MD2_MD4,
	}
	data.Size = uint32(unsafe.Sizeof(data))
	verify := func() error {
		return windows.WinVerifyTrustEx(windows.InvalidHWND, &windows.WINTRUST_ACTION_GENERIC_VERIFY_V2, &data)
	}
	err = verify()
	defer func() {
		data.StateAction = windows.WTD_STATEACTION_CLOSE
		_ = verify() // Only frees.
	}()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	name, err := signerOf(data.StateData)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if name != signer {
		return fmt.Errorf("%w but by %q", ErrSignature, name)
	}
	return nil
}

// signerOf returns the subject of the certificate that a file was signed with, by what the
// verification of the file left.
func signerOf(state windows.Handle) (string, error) {
	for _, p := range []*windows.LazyProc{providerOf, signerOfProvider, certificateSigner} {
		if err := p.Find(); err != nil {
			return "", err
		}
	}
	unknown := errors.New("the signer is unknown")
	provider, _, _ := syscall.SyscallN(providerOf.Addr(), uintptr(state))
	if provider == 0 {
		return "", unknown
	}
	// The first signer, and no countersigner: that would be whoever stamped the time.
	chain, _, _ := syscall.SyscallN(signerOfProvider.Addr(), provider, 0, 0, 0)
	if chain == 0 {
		return "", unknown
	}
	first, _, _ := syscall.SyscallN(certificateSigner.Addr(), chain, 0)
	if first == 0 {
		return "", unknown
	}
	// The memory is Windows' own and stays until the state is closed.
	certificate := (*(**providerCertificate)(unsafe.Pointer(&first))).certificate
	var name [256]uint16
	windows.CertGetNameString(certificate, windows.CERT_NAME_SIMPLE_DISPLAY_TYPE, 0, nil, &name[0], uint32(len(name)))
	return windows.UTF16ToString(name[:]), nil
}
