// Command overlay makes a build overlay of the Go tree, for programs that are tested under
// Wine 8. What is built with it is the same source as what ships, on a standard library that
// forgives Wine three things: its sockets know no SIO_UDP_NETRESET, it has no
// bcryptprimitives.dll to take random bytes from, and it does not delete open files.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// An edit replaces a piece of text in a file of the Go tree.
type edit struct{ file, before, after string }

var edits = []edit{
	{
		"src/net/fd_windows.go",
		"windows.SIO_UDP_NETRESET, (*byte)(unsafe.Pointer(&flag)), size, nil, 0, &ret, nil, 0)\n\t\tif err != nil {",
		"windows.SIO_UDP_NETRESET, (*byte)(unsafe.Pointer(&flag)), size, nil, 0, &ret, nil, 0)\n\t\tif err != nil && err != syscall.Errno(10045) {",
	},
	{
		"src/runtime/os_windows.go",
		"'b', 'c', 'r', 'y', 'p', 't', 'p', 'r', 'i', 'm', 'i', 't', 'i', 'v', 'e', 's', '.', 'd', 'l', 'l', 0",
		"'a', 'd', 'v', 'a', 'p', 'i', '3', '2', '.', 'd', 'l', 'l', 0",
	},
	{"src/runtime/os_windows.go", `"ProcessPrng\000"`, `"SystemFunction036\000"`},
	{"src/internal/syscall/windows/zsyscall_windows.go", `"bcryptprimitives.dll"`, `"advapi32.dll"`},
	{"src/internal/syscall/windows/zsyscall_windows.go", `NewProc("ProcessPrng")`, `NewProc("SystemFunction036")`},
	{"src/internal/syscall/windows/at_windows.go", "if TestDeleteatFallback {", "if !TestDeleteatFallback {"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: overlay DIR")
		os.Exit(2)
	}
	if err := write(runtime.GOROOT(), os.Args[1]); err != nil { //nolint:staticcheck // it runs where it was built
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

// write makes the changed files and overlay.json in dir. A text that is not there exactly
// once is an error: this Go tree is another one than these edits are for.
func write(root, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	replace := make(map[string]string)
	for _, e := range edits {
		original := filepath.Join(root, filepath.FromSlash(e.file))
		changed := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		from := original
		if replace[original] != "" {
			from = changed
		}
		source, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if n := strings.Count(string(source), e.before); n != 1 {
			return fmt.Errorf("%s has %q %d times, not once: mend the edits for this version of Go", original, e.before, n)
		}
		if err := os.WriteFile(changed, []byte(strings.Replace(string(source), e.before, e.after, 1)), 0o600); err != nil {
			return err
		}
		replace[original] = changed
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)
}
