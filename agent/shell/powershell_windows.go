package shell

import (
	"encoding/base64"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/windows"
)

// speakUTF8 has PowerShell and the programs it starts read and write UTF-8, whatever the machine's code page.
const speakUTF8 = "[Console]::InputEncoding = [Console]::OutputEncoding = $OutputEncoding = New-Object Text.UTF8Encoding $false"

// commandLine returns the whole command line that starts c.shell.
func commandLine(c command) string {
	arguments := ""
	switch name := strings.ToLower(filepath.Base(c.shell)); {
	case (name == "powershell.exe" || name == "pwsh.exe") && c.line == "":
		arguments = ` -NoLogo -NoExit -Command "` + speakUTF8 + `"`
	case name == "powershell.exe" || name == "pwsh.exe":
		arguments = " -NoLogo -NonInteractive -EncodedCommand " + encoded(speakUTF8+"\n"+c.line)
	case name == "cmd.exe" && c.line == "":
		arguments = " /d /k chcp 65001>nul"
	case name == "cmd.exe":
		arguments = ` /d /s /c "chcp 65001>nul & ` + c.line + `"` // cmd takes off the outer quotes and leaves the rest
	case c.line != "":
		arguments = " -c " + windows.EscapeArg(c.line)
	}
	return windows.EscapeArg(c.shell) + arguments
}

// encoded returns a script as -EncodedCommand wants it: nothing in it needs quoting.
func encoded(script string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(script)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// startDir is where a shell begins: in the user's profile; or else at the root of the system's drive,
// for the service's own profile is hidden deep in the Windows folder.
func startDir(c command) string {
	if c.home {
		if profile, err := windows.KnownFolderPath(windows.FOLDERID_Profile, 0); err == nil {
			return profile
		}
	}
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return `C:\`
	}
	return filepath.VolumeName(system) + `\`
}

// environment returns the agent's environment without the agent's own settings, and the command's.
func environment(c command) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(strings.ToUpper(v), "BOREALIS_") {
			env = append(env, v)
		}
	}
	return append(env, c.env...)
}

// block makes an environment block: of a name that comes twice, in any case, the last value counts.
func block(env []string) []uint16 {
	last := make(map[string]int)
	key := func(v string) string {
		// Windows keeps variables whose names begin with "=": the current folder of each drive.
		if i := strings.IndexByte(v[1:], '='); i >= 0 {
			return strings.ToUpper(v[:i+1])
		}
		return ""
	}
	for i, v := range env {
		if len(v) > 1 {
			last[key(v)] = i
		}
	}
	var b []uint16
	for i, v := range env {
		if len(v) > 1 && key(v) != "" && last[key(v)] == i && !strings.ContainsRune(v, 0) {
			b = append(append(b, utf16.Encode([]rune(v))...), 0)
		}
	}
	if len(b) == 0 {
		b = append(b, 0) // an empty block has two zeros as well
	}
	return append(b, 0)
}
