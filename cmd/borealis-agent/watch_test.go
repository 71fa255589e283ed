package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"borealis/agent/update"
)

func TestWatchUpdate(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	exe := filepath.Join(data, "agent.exe")
	if err := os.Mkdir(filepath.Join(data, "Agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, errs := say(t, exitDone, "watch-update", "--data", data, "--exe", exe); out != "watching\n" || errs != "" {
		t.Errorf("without an update it says %q %q", out, errs)
	}

	// No service manager of this machine has the agent, so the new version cannot be started.
	// On Windows that means that it was uninstalled meanwhile, and nothing is touched.
	inPlace, left, logged := "old", false, []string{"update_watched", "update_rolls_back", "update_rolled_back", "update_failed"}
	if runtime.GOOS == "windows" {
		inPlace, left, logged = "new", true, []string{"update_watched", "update_failed"}
	}
	for path, content := range map[string]string{exe: "new", exe + ".old": "old"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state, err := json.Marshal(update.State{From: "1", To: "2", Sequence: 2, Phase: update.Pending, Watches: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "Agent", "update.json"), state, 0o600); err != nil {
		t.Fatal(err)
	}
	say(t, exitFailed, "watch-update", "--data", data, "--exe", exe, "--patience", "1s")
	if b, err := os.ReadFile(exe); err != nil || string(b) != inPlace {
		t.Errorf("in place is %q, %v", b, err)
	}
	if _, err := os.Stat(exe + ".old"); (err == nil) != left {
		t.Errorf("the old program beside it: %v", err)
	}
	log, err := os.ReadFile(filepath.Join(data, "Agent", "Logs", "update.log"))
	for _, want := range logged {
		if err != nil || strings.Count(string(log), "msg="+want+" ") != 1 {
			t.Errorf("the log does not tell of %s: %v\n%s", want, err, log)
		}
	}
}

func TestWatchUpdateUsage(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, args := range [][]string{{}, {"--exe", "agent.exe"}, {"--exe", filepath.Join(data, "agent.exe"), "--patience", "0s"}} {
		say(t, exitUsage, append([]string{"watch-update", "--data", data}, args...)...)
	}
}

// TestUpdateLogIsBounded begins the log of the watchers anew when it has become long.
func TestUpdateLogIsBounded(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, c := range []struct{ before, after int64 }{{maxUpdateLog, maxUpdateLog + 1}, {maxUpdateLog + 1, 1}} {
		path := filepath.Join(data, "Agent", "Logs", "update.log")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openUpdateLog(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if info, err := os.Stat(path); err != nil || info.Size() != c.after {
			t.Errorf("after %d bytes it has %d, %v", c.before, info.Size(), err)
		}
	}
}
