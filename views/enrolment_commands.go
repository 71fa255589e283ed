package views

import (
	"net/url"
	"strings"
)

// Where the agent is on a Linux machine.
const (
	linuxProgram = "/usr/local/bin/borealis-agent"
	linuxData    = "/var/lib/borealis-agent"
)

// windowsCommand is the line that installs the agent on a Windows machine. It is for an
// elevated PowerShell, 5.1 or later. The engine's certificate is its own, so curl is told
// not to look at it: what is installed is the file whose hash came with this page, and the
// code has the pin by which the agent knows its engine. The file's name cannot be guessed,
// so that nobody puts another in its place; the processor is what Windows itself knows,
// which a PowerShell that is emulated would not say. When the engine carries no agent for
// Windows, the line is for one that was brought.
func (v Enrolment) windowsCommand() string {
	hashes := v.hashes("windows")
	if len(hashes) == 0 {
		return `.\borealis-agent.exe install --code ` + powerShellQuote(v.New)
	}
	return "& { $arch = [Environment]::GetEnvironmentVariable('PROCESSOR_ARCHITECTURE', 'Machine'); " +
		"$sha256 = @{ " + strings.Join(hashes, "; ") + " }[$arch]; " +
		`if (-not $sha256) { throw "This engine has no agent for Windows on $arch." }; ` +
		`$exe = Join-Path $env:TEMP "$([guid]::NewGuid()).exe"; ` +
		"try { " +
		"curl.exe -fsSLk --retry 3 -o $exe (" + powerShellQuote(v.download("borealis-agent-windows-")) + " + $arch.ToLower() + '.exe'); " +
		"if ($LASTEXITCODE) { throw 'The download failed. Nothing was installed.' }; " +
		"if ((Get-FileHash $exe -Algorithm SHA256).Hash -ne $sha256) { throw 'The download is not the agent that the console named. Nothing was installed.' }; " +
		"& $exe install --code " + powerShellQuote(v.New) +
		" } finally { Remove-Item $exe -ErrorAction SilentlyContinue } }"
}

// linuxCommand is what enrols a Linux machine and keeps it in touch, for a root shell. It
// downloads the agent first when the engine carries one; see windowsCommand.
func (v Enrolment) linuxCommand() string {
	program, download := "borealis-agent", ""
	if hashes := v.hashes("linux"); len(hashes) > 0 {
		program = linuxProgram
		download = `( f=$(mktemp) && trap 'rm -f "$f"' EXIT && case $(uname -m) in ` + strings.Join(hashes, " ") +
			` *) echo "This engine has no agent for Linux on $(uname -m)." >&2; false;; esac && ` +
			`curl -fsSLk --retry 3 -o "$f" ` + shellQuote(v.download("borealis-agent-linux-")) + `"$a" && ` +
			`echo "$s  $f" | sha256sum -c && install -m 755 "$f" ` + program + ` ) && ` + "\\\n"
	}
	return download + program + " enrol --data " + linuxData + " --code " + shellQuote(v.New) + " && \\\n" +
		program + " run --data " + linuxData
}

// hashes are the hashes of the agents for a system as its shell looks them up: members of
// a hash table in PowerShell, and arms of a case in a POSIX shell.
func (v Enrolment) hashes(system string) []string {
	var all []string
	for _, a := range v.Agents {
		switch {
		case a.OS != system:
		case system == "windows":
			all = append(all, strings.ToUpper(a.Arch)+" = "+powerShellQuote(a.SHA256))
		case a.Arch == "amd64":
			all = append(all, "x86_64) a=amd64 s="+shellQuote(a.SHA256)+";;")
		case a.Arch == "arm64":
			all = append(all, "aarch64) a=arm64 s="+shellQuote(a.SHA256)+";;")
		}
	}
	return all
}

// download is the URL at which machines find a file of the engine, as far as its name is
// given.
func (v Enrolment) download(name string) string {
	u := url.URL{Scheme: "https", Host: v.Address, Path: "/downloads/" + name}
	return u.String()
}

// shellQuote makes one word of a POSIX shell out of a text.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// powerShellQuotes are the characters that end a text in single quotes. Twice they mean
// themselves.
var powerShellQuotes = strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")

// powerShellQuote makes one value of PowerShell out of a text.
func powerShellQuote(s string) string { return "'" + powerShellQuotes.Replace(s) + "'" }
