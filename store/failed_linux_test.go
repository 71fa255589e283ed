package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"borealis/tunnel/wg/nstest"
)

// smallDisk mounts a disk of a megabyte.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("borealis-test", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fillDisk writes a file that takes all space there is.
func fillDisk(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return filler
}

// TestFullDiskPasses: writes are refused, reads go on, and with space again so do writes.
func TestFullDiskPasses(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	dir := smallDisk(t)
	s := openAt(t, filepath.Join(dir, "borealis.db"))
	add := func() error {
		return s.AddRecord(t.Context(), Record{Kind: "written", Detail: strings.Repeat("x", 2000)})
	}
	for round := range 3 {
		filler := fillDisk(t, dir)
		var err error
		for err == nil { // what the log has room for
			err = add()
		}
		if !errors.Is(err, ErrFull) || errors.Is(err, ErrFailed) || s.Err() != nil {
			t.Fatalf("round %d: %v; the store says %v", round, err, s.Err())
		}
		if err := add(); !errors.Is(err, ErrFull) {
			t.Errorf("round %d: again: %v", round, err)
		}
		if err := s.Backup(t.Context(), filepath.Join(dir, "copy.db")); !errors.Is(err, ErrFull) {
			t.Errorf("round %d: backup: %v", round, err)
		}
		before := checkChain(t, s)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := add(); err != nil {
			t.Errorf("round %d: with space again: %v", round, err)
		}
		if after := checkChain(t, s); after != before+1 {
			t.Errorf("round %d: %d records, then %d", round, before, after)
		}
	}
}

// TestNoCopyNoChangeOnAFullDisk: an older database stays as it is.
func TestNoCopyNoChangeOnAFullDisk(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	dir := smallDisk(t)
	old, conn := openOld(t, 2)
	do(t, conn, "PRAGMA wal_checkpoint(TRUNCATE)")
	path := filepath.Join(dir, "borealis.db")
	copyFile(t, old, path)
	filler := fillDisk(t, dir)
	if err := os.Truncate(filler, 60<<10); err != nil { // room for the log, not for a copy
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), make([]byte, 900<<10), 0o600); err == nil {
		t.Log("there was room")
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrFull) {
		t.Errorf("opened: %v", err)
	}
	left, _ := filepath.Glob(path + ".before*")
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := errors.Join(os.Remove(filler), os.Remove(filepath.Join(dir, "more"))); err != nil {
		t.Fatal(err)
	}
	if text, err := pragmaText(openRaw(t, path), "user_version"); err != nil || text != "2" {
		t.Errorf("its version is %s, %v", text, err)
	}
	openAt(t, path)
}

// spoilEnv tells the test below which database to spoil, and how.
const spoilEnv = "BOREALIS_STORE_CHILD"

// TestSpoilt is run by others, in a process of its own.
func TestSpoilt(t *testing.T) {
	how, path, found := strings.Cut(os.Getenv(spoilEnv), " ")
	if !found {
		return // other tests run this one, in a process of its own
	}
	runtime.LockOSThread() // strace counts by thread
	s, err := Open(t.Context(), path)
	if err != nil {
		fmt.Println("not opened")
		return
	}
	if how == "limited" {
		signal.Ignore(unix.SIGXFSZ)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5 {
		err := s.AddRecord(t.Context(), Record{Kind: "written", Detail: fmt.Sprint(n)})
		if err == nil {
			fmt.Println("acknowledged", n)
			continue
		}
		fmt.Println("failed", sqlite.ErrCode(err))
		if !errors.Is(err, ErrFailed) {
			t.Errorf("write %d: %v", n, err)
		}
		select {
		case <-s.Failed():
		default:
			t.Error("the store has not failed")
		}
		if again := s.AddRecord(t.Context(), Record{Kind: "written"}); !errors.Is(again, ErrFailed) || !errors.Is(s.Err(), ErrFailed) {
			t.Errorf("another write: %v; the store says %v", again, s.Err())
		}
		if _, _, err := s.Head(t.Context()); err != nil {
			t.Errorf("a read: %v", err)
		}
		break
	}
	if err := s.Close(); err != nil {
		t.Log("close:", err)
	}
}

// spoilt runs TestSpoilt, by way of another program when one is named.
func spoilt(t *testing.T, how, path string, by ...string) (said string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestSpoilt$", "-test.v")
	if len(by) > 0 {
		c = exec.Command(by[0], append(by[1:], c.Args...)...)
	}
	c.Env = append(os.Environ(), spoilEnv+"="+how+" "+path)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return string(out)
}

// TestFailedSyncIsFinal lets one sync after the other fail, from that one on. Nothing that
// was acknowledged is lost, and nothing is written after the failure.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	failed := 0
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "borealis.db")
		if err := openAt(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		said := spoilt(t, "strace", path, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d+", n))
		if strings.Contains(said, "failed SQLITE_IOERR_FSYNC") {
			failed++
		}
		lines := checkChain(t, openAt(t, path))
		if acknowledged := int64(strings.Count(said, "acknowledged")); lines < acknowledged {
			t.Errorf("sync %d: %d records are acknowledged and %d there", n, acknowledged, lines)
		}
		if strings.Contains(said, "acknowledged 4") {
			break
		}
		if n > 50 {
			t.Fatalf("after %d syncs: %s", n, said)
		}
	}
	if failed < 5 {
		t.Errorf("a sync failed in %d writes", failed)
	}
}

// TestFailedWriteIsFinal is the same for writes that the kernel refuses.
func TestFailedWriteIsFinal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if said := spoilt(t, "limited", path); !strings.Contains(said, "failed SQLITE_IOERR_WRITE") {
		t.Errorf("it said %s", said)
	}
	if err := openAt(t, path).AddRecord(t.Context(), Record{Kind: "k"}); err != nil {
		t.Errorf("opened anew: %v", err)
	}
}
