//go:build unix

package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{})
	_, other := newKey(t)
	signer, err := ssh.NewSignerFromKey(d.client)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*ssh.ClientConfig{
		"no method": {User: User},
		"password":  {User: User, Auth: []ssh.AuthMethod{ssh.Password("borealis")}},
		"user":      {User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}},
	} {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey()
		if c, err := ssh.Dial("tcp", d.addr, config); err == nil {
			c.Close()
			t.Errorf("signed in with the wrong %s", name)
		}
	}
	if c, err := d.dialAs(User, other); err == nil {
		c.Close()
		t.Error("signed in with the wrong key")
	}
	if c, err := d.dialAs(User, d.client); err != nil {
		t.Errorf("the right key: %v", err)
	} else {
		c.Close()
	}
}

func TestOnlySessions(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{})
	client := d.dial(t)
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "anything"} {
		_, _, err := client.OpenChannel(kind, nil)
		if refused, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refused.Reason != ssh.UnknownChannelType {
			t.Errorf("channel %s: %v", kind, err)
		}
	}
	if ok, _, err := client.SendRequest("tcpip-forward", true, nil); ok || err != nil {
		t.Errorf("forwarding: %v, %v", ok, err)
	}
	k := open(t, client)
	for _, name := range []string{"subsystem", "x11-req", "auth-agent-req@openssh.com"} {
		if ok, err := k.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("request %s: %v, %v", name, ok, err)
		}
	}
}

func TestSessionsAreLimited(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	one, two := d.dial(t), d.dial(t)
	var first *console
	for i := range maxSessions {
		k := open(t, []*ssh.Client{one, two}[i%2])
		if first == nil {
			first = k
		}
	}
	_, err := two.NewSession()
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refused.Reason != ssh.ResourceShortage {
		t.Fatalf("session %d: %v, want a shortage", maxSessions+1, err)
	}
	first.Session.Close()
	waitFor(t, "room after a session ended", func() bool {
		s, err := two.NewSession()
		if err != nil {
			return false
		}
		s.Close()
		return true
	})
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{})
	for range maxConnections {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatalf("no greeting: %v", err)
		}
	}
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		t.Errorf("connection %d is greeted with %q", maxConnections+1, line)
	}
}

func TestSilentConnectionIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, host := newKey(t)
		client, _ := newKey(t)
		s, err := newServer(Config{HostKey: host, Client: client})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		begun := time.Now()
		go s.serveConn(t.Context(), theirs)
		buf := make([]byte, 100)
		for err == nil {
			_, err = ours.Read(buf)
		}
		if spent := time.Since(begun); spent != handshakeTimeout {
			t.Errorf("closed after %v, want %v", spent, handshakeTimeout)
		}
	})
}

func TestServeChecksItsConfig(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	for name, c := range map[string]Config{
		"no host key":    {Client: public},
		"no client":      {HostKey: private},
		"relative shell": {HostKey: private, Client: public, Shell: "sh"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := Serve(t.Context(), l, c); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := l.Close(); err == nil {
			t.Errorf("%s: the listener is left open", name)
		}
	}
}

func TestServeReportsADeadListener(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, Config{HostKey: private, Client: public}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

// brood is a script that leaves processes behind in every way that a session can be left with, then
// prints their ids.
const brood = `
sleep 1000 & a=$!
sh -c 'trap "" HUP TERM; while :; do sleep 1000; done' & b=$!
sh -c 'setsid sh -c "echo \$\$ > $1.c; trap \"\" HUP; sleep 1000; :" & wait' & c=$!
sh -c 'sleep 1000 & echo $! > $1.d; wait' & d=$!
sh -c 'kill -STOP $$' & e=$!
while [ ! -s $1.c -o ! -s $1.d ]; do :; done
echo pids $$ $a $b $c $d $e $(cat $1.c $1.d) end
`

func TestTreeIsKilled(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*device, *ssh.Client, *console){
		"when the session is closed": func(_ *device, _ *ssh.Client, k *console) { k.Session.Close() },
		"when the connection ends":   func(_ *device, c *ssh.Client, _ *console) { c.Close() },
		"when the server stops":      func(d *device, _ *ssh.Client, _ *console) { d.stop() },
		"when the shell exits":       func(_ *device, _ *ssh.Client, k *console) { _, _ = io.WriteString(k.in, "exit\nexit\n") }, // once would only warn of the stopped job
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, Config{Shell: "/bin/sh"})
			client := d.dial(t)
			dir := t.TempDir()
			script := strings.ReplaceAll(brood, "$1", dir+"/pid")
			if err := os.WriteFile(dir+"/brood", []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			k := shell(t, client, 80, 24)
			k.typeln(t, fmt.Sprintf(`. %[1]s/brood`, dir))
			pids := broodOf(t, k)
			for _, pid := range pids {
				if !alive(pid) {
					t.Fatalf("process %d is not there to be killed", pid)
				}
			}
			end(d, client, k)
			if name == "when the server stops" {
				for _, pid := range pids {
					if alive(pid) {
						t.Errorf("process %d lives after Serve returned", pid)
					}
				}
				return
			}
			for _, pid := range pids {
				waitFor(t, fmt.Sprintf("the end of process %d", pid), func() bool { return !alive(pid) })
			}
		})
	}
}

// broodOf reads the process ids that the script printed.
func broodOf(t *testing.T, k *console) (pids []int) {
	t.Helper()
	out := k.expect(t, " end\r\n")
	_, list, _ := strings.Cut(out, "pids ")
	list, _, _ = strings.Cut(list, " end")
	for word := range strings.FieldsSeq(list) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("pids %q: %v", list, err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 8 {
		t.Fatalf("only %v", pids)
	}
	return pids
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && len(out) > 0 && out[0] != 'Z'
}

// waitFor waits for a condition that no event tells.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patient)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("no %s in time", what)
		}
	}
}

// A program started by a script with "&" ignores SIGINT, and its children inherit that.
func TestInterruptUnderAScript(t *testing.T) {
	t.Parallel()
	const mark = "BOREALIS_TEST_IGNORES"
	if os.Getenv(mark) != "" {
		d := newDevice(t, Config{Shell: "/bin/sh"})
		checkInterrupt(t, d)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `trap "" INT QUIT HUP; exec "$0" -test.run='^TestInterruptUnderAScript$'`, os.Args[0])
	cmd.Env = append(os.Environ(), mark+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
