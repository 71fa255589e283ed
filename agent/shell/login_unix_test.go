//go:build unix

package shell

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPasswdShell(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	const text = `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
broken:x:7:7

none:x:8:8::/:
ada:x:1000:1000:Ada,,,:/home/ada:/usr/bin/zsh
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int]string{0: "/bin/bash", 1: "/usr/sbin/nologin", 1000: "/usr/bin/zsh", 7: "", 8: "", 10: ""} {
		if got := passwdShell(file, uid); got != want {
			t.Errorf("shell of %d is %q, want %q", uid, got, want)
		}
	}
	if got := passwdShell(file+"x", 0); got != "" {
		t.Errorf("no file, but shell %q", got)
	}
}

func TestLoginShell(t *testing.T) {
	mine := filepath.Join(t.TempDir(), "mysh")
	if err := os.WriteFile(mine, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHELL", mine)
	if got := loginShell(); got != mine {
		t.Errorf("with SHELL=%s the shell is %s", mine, got)
	}
	for _, bad := range []string{"mysh", mine + "x", filepath.Dir(mine), "/etc/passwd"} {
		t.Setenv("SHELL", bad)
		if got := loginShell(); got == bad || !runnable(got) {
			t.Errorf("with SHELL=%s the shell is %s", bad, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("BOREALIS_CODE", "secret")
	t.Setenv("LD_PRELOAD_X", "x")
	t.Setenv("LANG", "C")
	t.Setenv("PATH", "")
	dir, env := environment(command{shell: "/bin/sh", env: []string{"BOREALIS_OPERATOR=ada"}})
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("begins in %q: %v", dir, err)
	}
	for _, want := range []string{"LANG=C.UTF-8", "SHELL=/bin/sh", "TERM=xterm-256color", "BOREALIS_OPERATOR=ada"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %q", want, env)
		}
	}
	for _, never := range []string{"BOREALIS_CODE=secret", "LD_PRELOAD_X=x", "PATH="} {
		if slices.Contains(env, never) {
			t.Errorf("%s is in %q", never, env)
		}
	}
}

// TestBeginsWhereItMay: a home that is missing, no folder, or closed is no reason for having no shell.
func TestBeginsWhereItMay(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file, closed := filepath.Join(home, "file"), filepath.Join(home, "closed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{home: home, file: "/", filepath.Join(home, "none"): "/", closed: "/"}
	if os.Geteuid() == 0 {
		want[closed] = closed // nothing is closed to root
	}
	for path, begins := range want {
		if got := beginIn(path); got != begins {
			t.Errorf("with the home %s a shell begins in %s, want %s", path, got, begins)
		}
	}
}
