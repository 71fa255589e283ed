package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "Logs", "install.log")
	j := &journal{what: "install", path: path}
	j.say("early", "waits")
	j.openIfThere()
	if j.file != nil {
		t.Fatal("there is a log without its folder")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.open(); err != nil {
			t.Fatal(err)
		}
	}
	j.say("late", "comes at once")
	j.close()
	j.close()
	again := &journal{what: "uninstall", path: path}
	again.openIfThere()
	again.say("third", "is added")
	again.close()
	var got []string
	for line := range strings.Lines(read(t, path)) {
		_, line, _ = strings.Cut(line, " ")
		got = append(got, line)
	}
	if want := "install: early: waits\ninstall: late: comes at once\nuninstall: third: is added\n"; strings.Join(got, "") != want {
		t.Errorf("the log has\n%swant\n%s", strings.Join(got, ""), want)
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "install.log")
	for _, size := range []int64{maxLog + 1, maxLog + 2} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		j := &journal{path: path}
		if err := j.open(); err != nil {
			t.Fatal(err)
		}
		j.close()
		now, err := os.Stat(path)
		if err != nil || now.Size() != 0 {
			t.Errorf("a full log goes on: %v, %v", now, err)
		}
		old, err := os.Stat(path + ".1")
		if err != nil || old.Size() != size {
			t.Errorf("the older log is %v, %v", old, err)
		}
	}
}
