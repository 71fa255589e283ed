//go:build unix

package shell

import (
	"bufio"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// loginShell returns the shell of the user that the agent runs as.
func loginShell() string {
	for _, path := range []string{os.Getenv("SHELL"), passwdShell("/etc/passwd", os.Getuid())} {
		if runnable(path) {
			return path
		}
	}
	return "/bin/sh"
}

// runnable reports whether path is absolute and names a program.
func runnable(path string) bool {
	if !filepath.IsAbs(path) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// passwdShell returns the shell that a passwd file gives a user, or "".
func passwdShell(file string, uid int) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	want := strconv.Itoa(uid)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// name:password:uid:gid:comment:home:shell
		if fields := strings.Split(lines.Text(), ":"); len(fields) == 7 && fields[2] == want {
			return fields[6]
		}
	}
	return ""
}

// environment returns where a shell begins and what it knows. It is made anew, as a login makes it:
// the agent's own environment may hold what is none of a shell's business.
func environment(c command) (dir string, env []string) {
	home, name := os.Getenv("HOME"), os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		home, name = u.HomeDir, u.Username
	}
	dir = beginIn(home)
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	locale := os.Getenv("LANG")
	if l := strings.ToLower(locale); !strings.HasSuffix(l, ".utf-8") && !strings.HasSuffix(l, ".utf8") {
		locale = "C.UTF-8"
	}
	env = []string{
		"HOME=" + home, "USER=" + name, "LOGNAME=" + name, "SHELL=" + c.shell,
		"PATH=" + path, "LANG=" + locale, "TERM=" + term, "COLORTERM=truecolor",
	}
	if zone, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+zone)
	}
	return dir, append(env, c.env...)
}

// beginIn is where a shell begins: at home, if that is a folder that may be entered.
func beginIn(home string) string {
	if info, err := os.Stat(home); err != nil || !info.IsDir() || unix.Access(home, unix.X_OK) != nil {
		return "/"
	}
	return home
}
