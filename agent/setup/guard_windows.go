package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// guard lets SYSTEM and administrators do everything below a folder, and nobody else
// anything. It takes no rights from above: below ProgramData every user may read, and make
// files.
const guard = "O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// mkdirGuarded makes a folder that has its guard from the first moment.
func mkdirGuarded(dir string) error {
	sd, err := windows.SecurityDescriptorFromString(guard)
	if err != nil {
		return err
	}
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	return windows.CreateDirectory(p, sa)
}

// guardTree gives the guard to a data root and to all below one folder in it. What somebody
// without rights made there, in the time before it had a guard, is an error that names it:
// it cannot be trusted.
func guardTree(root, agent string) error {
	sd, err := windows.SecurityDescriptorFromString(guard)
	if err != nil {
		return err
	}
	trusted, err := trustedOwners()
	if err != nil {
		return err
	}
	if err := guardOne(root, sd, trusted); err != nil { // First: nobody can add anything any more.
		return err
	}
	return filepath.WalkDir(agent, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = guardOne(path, sd, trusted)
		}
		if errors.Is(err, fs.ErrNotExist) { // The agent runs, and its files come and go.
			return nil
		}
		return err
	})
}

// trustedOwners are SYSTEM, the administrators, and who installs.
func trustedOwners() ([]*windows.SID, error) {
	system, err := windows.CreateWellKnownSid(windows.WinLocalSystemSid)
	if err != nil {
		return nil, err
	}
	administrators, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	return []*windows.SID{system, administrators, user.User.Sid}, nil
}

// guardOne gives the guard to one file or folder that somebody trusted owns. It works on
// what it has open, so that nothing can be put in its place meanwhile.
func guardOne(path string, sd *windows.SECURITY_DESCRIPTOR, trusted []*windows.SID) error {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(p, windows.READ_CONTROL|windows.WRITE_DAC|windows.WRITE_OWNER|windows.FILE_READ_ATTRIBUTES,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return fmt.Errorf("guard: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	defer windows.CloseHandle(h)
	if err := trust(h, trusted); err != nil {
		return fmt.Errorf("%s %w: look at what it holds, remove it or move it away, and try again", path, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	acl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.GROUP_SECURITY_INFORMATION |
		windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetSecurityInfo(h, windows.SE_FILE_OBJECT, what, owner, owner, acl, nil); err != nil {
		return fmt.Errorf("guard: %w", &os.PathError{Op: "protect", Path: path, Err: err})
	}
	return nil
}

// trust says what speaks against an open file or folder.
func trust(h windows.Handle, owners []*windows.SID) error {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return errors.New("leads to another place")
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 && info.NumberOfLinks > 1 {
		return errors.New("is a file of another place too")
	}
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("does not say who owns it: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("does not say who owns it: %w", err)
	}
	if !slices.ContainsFunc(owners, owner.Equals) {
		return fmt.Errorf("belongs to %s, who is neither SYSTEM nor an administrator", owner)
	}
	return nil
}
