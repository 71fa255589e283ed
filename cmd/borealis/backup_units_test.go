//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackupUnits: systemd takes the units as they are, and the command in them works.
func TestBackupUnits(t *testing.T) {
	service, err := os.ReadFile("../../etc/borealis-backup.service")
	if err != nil {
		t.Fatal(err)
	}
	timer, err := os.ReadFile("../../etc/borealis-backup.timer")
	if err != nil {
		t.Fatal(err)
	}
	data, dir := newRoot(t), t.TempDir()
	recipients, folder := filepath.Join(dir, "recipients"), filepath.Join(dir, "backups")
	write(t, recipients, []byte(must(t, "backup", "new-key", filepath.Join(dir, "identity"))), 0o600)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(service), "\nExecStart=/usr/local/bin/borealis ")
	if !found {
		t.Fatal("there is no ExecStart")
	}
	line, _, _ = strings.Cut(line, "\n")
	var args []string
	for word := range strings.FieldsSeq(line) {
		switch word {
		case "/var/lib/borealis":
			word = data
		case "/var/backups/borealis":
			word = folder
		case "/etc/borealis/backup.recipients":
			word = recipients
		}
		args = append(args, word)
	}
	must(t, args...)
	if made, err := os.ReadDir(folder); err != nil || len(made) != 1 {
		t.Errorf("%q made %v, %v", args, made, err)
	}

	verifier, err := exec.LookPath("systemd-analyze") //nolint:misspell // its name
	if err != nil {
		t.Skip("systemd is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "borealis-backup.service"), []byte(strings.ReplaceAll(string(service), "/usr/local/bin/borealis", self)), 0o600)
	write(t, filepath.Join(dir, "borealis-backup.timer"), timer, 0o600)
	out, err := exec.Command(verifier, "verify", "--man=no", filepath.Join(dir, "borealis-backup.service"), filepath.Join(dir, "borealis-backup.timer")).CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("systemd: %v\n%s", err, out)
	}
}
