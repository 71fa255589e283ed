package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"borealis/store"
	"borealis/tunnel/wg/nstest"
)

// doomedEnv tells the test below what to do, and at which step to be killed.
const doomedEnv = "BOREALIS_BACKUP_DOOMED"

// TestDoomed is run by others, in a process of its own.
func TestDoomed(t *testing.T) {
	words := strings.Fields(os.Getenv(doomedEnv))
	if len(words) == 0 {
		return // other tests run this one, in a process of its own
	}
	what, at, identity, file, root := words[0], words[1], words[2], words[3], words[4]
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		t.Fatal(err)
	}
	kill := func(step string) {
		fmt.Println("step", step)
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if what == "backup" {
		s, err := store.Open(t.Context(), filepath.Join(root, databasePath))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Make(t.Context(), Config{Store: s, Root: root, Engine: "abcdefghijk", Recipients: []age.Recipient{id.Recipient()}, step: kill}, file)
		t.Fatal("it was not killed: ", err)
	}
	_, err = Restore(t.Context(), RestoreConfig{File: file, Identities: []age.Identity{id}, Root: root, Replace: true, step: kill})
	t.Fatal("it was not killed: ", err)
}

// doomed runs TestDoomed until it is killed.
func (r *rig) doomed(t *testing.T, what, at, file, root string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestDoomed$")
	c.Env = append(os.Environ(), doomedEnv+"="+strings.Join([]string{what, at, r.id.String(), file, root}, " "))
	out, err := c.CombinedOutput()
	if c.ProcessState == nil || !strings.Contains(c.ProcessState.String(), "killed") || !strings.Contains(string(out), "step "+at) {
		t.Fatalf("%s, to be killed at %q: %v\n%s", what, at, err, out)
	}
}

// TestKilledBackup: there is no file, and the next backup removes what was left.
func TestKilledBackup(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"copy", "encrypt", "reread", "place"} {
		r := newRig(t)
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(r.dir, "one.age")
		r.doomed(t, "backup", at, file, r.root)
		if _, err := os.Stat(file); err == nil {
			t.Errorf("killed at %s: there is a file", at)
		}
		if len(r.litter(t)) == 0 {
			t.Errorf("killed at %s: nothing was left that the next one could remove", at)
		}
		r.store = r.open(t, r.root)
		r.backup(t, "one.age")
		if left := r.litter(t); len(left) > 0 {
			t.Errorf("killed at %s: the next one leaves %v", at, left)
		}
	}
}

// TestKilledRestore: the data root is the old one or the new one, both are somewhere, and the
// next restore tidies up without deleting anybody's data.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"unpack", "check", "place", "placed", "aside"} {
		r := newRig(t)
		made := r.backup(t, "one.age")
		r.add(t, 3)
		r.sign(t)
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		old := tree(t, r.root)
		r.doomed(t, "restore", at, made.Path, r.root)
		now := tree(t, r.root)
		isOld := cmp.Equal(old, now)
		if want := at == "unpack" || at == "check" || at == "place"; isOld != want {
			t.Errorf("killed at %s: the data root is the old one: %v", at, isOld)
		}
		if !isOld {
			if last := r.records(t, r.root); last[len(last)-1].Kind != "restored" {
				t.Errorf("killed at %s: the trail ends with %+v", at, last[len(last)-1])
			}
		}
		c := r.restoring(made.Path, r.root)
		c.Replace = true
		if _, err := Restore(t.Context(), c); err != nil {
			t.Errorf("killed at %s: the next restore: %v", at, err)
		}
		if left := r.litter(t); len(left) > 0 {
			t.Errorf("killed at %s: the next one leaves %v", at, left)
		}
		beside, err := filepath.Glob(r.root + ".*-restore-*")
		if err != nil || !slices.ContainsFunc(beside, func(dir string) bool { return cmp.Equal(old, tree(t, dir)) }) {
			t.Errorf("killed at %s: the old data is in none of %v, %v", at, beside, err)
		}
	}
}

// TestNoRoom: a disk that is too small is told before anything is written, with figures.
func TestNoRoom(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	r := newRig(t)
	small := filepath.Join(r.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("borealis-test", small, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	noRoom := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "there is no space for it on the disk of "+small) || !strings.Contains(err.Error(), "8 MiB are free") {
			t.Errorf("on a small disk: %v", err)
		}
		if left := tree(t, small); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	_, err := Make(t.Context(), r.config(), filepath.Join(small, "one.age"))
	noRoom(err)
	_, err = Restore(t.Context(), r.restoring(r.backup(t, "one.age").Path, filepath.Join(small, "root")))
	noRoom(err)
}
