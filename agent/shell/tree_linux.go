package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is what a session's leader started.
type tree struct {
	leader int
	seen   map[int]string // start times of processes found before, which may have lost their parent since
}

// living returns the processes that live in the leader's session, those that descend from them,
// whatever their session, and those that did so at an earlier call. The error says that they cannot be
// known, such as for want of file descriptors.
func (t *tree) living() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	others := make(map[int][]int) // by parent
	started := make(map[int]string)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid <= 1 {
			continue
		}
		s, err := readStat(pid)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH), errors.Is(err, fs.ErrPermission):
			continue // it ended meanwhile, or is somebody else's (hidepid)
		case err != nil:
			return nil, err
		case s.dead:
			continue
		}
		started[pid] = s.started
		if s.session == t.leader || t.seen[pid] == s.started {
			found = append(found, pid)
		} else {
			others[s.parent] = append(others[s.parent], pid)
		}
	}
	t.seen = make(map[int]string, len(found))
	for i := 0; i < len(found); i++ { // grows as it goes
		pid := found[i]
		t.seen[pid] = started[pid]
		found = append(found, others[pid]...)
		delete(others, pid)
	}
	return found, nil
}

// stat is what a tree needs of /proc/<pid>/stat.
type stat struct {
	dead            bool // a zombie, waiting to be reaped
	parent, session int
	started         string // with the process id it names a process for good
}

// readStat reads a process's stat.
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	// pid (name) state parent group session …; the name may hold anything, so count from its end.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("the stat of process %d has %d fields", pid, len(fields))
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	dead := fields[0] == "Z" || fields[0] == "X"
	return stat{dead: dead, parent: parent, session: session, started: fields[19]}, errors.Join(err1, err2)
}

// awaitExit waits until the program has ended, and leaves it to be reaped.
func awaitExit(cmd *exec.Cmd) {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// eraseUTF8 has the terminal's own line editing erase whole characters rather than bytes.
func eraseUTF8(fd int) {
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return
	}
	modes.Iflag |= unix.IUTF8
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, modes) // a terminal without is still a terminal
}
