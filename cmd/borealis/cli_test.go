package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys"
)

// call runs a command line and returns what it printed.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, text bytes.Buffer
	code = run(ctx, args, &out, &text)
	return code, out.String(), text.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "say which command"},
		{[]string{"help"}, exitDone, "borealis serve"},
		{[]string{"fly"}, exitUsage, `no command "fly"`},
		{[]string{"operator"}, exitUsage, `no command "operator"`},
		{[]string{"operator", "add"}, exitUsage, "NAME is missing"},
		{[]string{"operator", "add", "a", "b"}, exitUsage, `"b" is one word too many`},
		{[]string{"operator", "add", "a", "--role", "god"}, exitUsage, "use one of viewer, operator, auditor, admin"},
		{[]string{"serve", "--wings"}, exitUsage, "flag provided but not defined"},
		{[]string{"serve", "--udp-port", "443"}, exitUsage, "belongs to web traffic"},
		{[]string{"serve", "--udp-port", "70000"}, exitUsage, "between 0 and 65535"},
		{[]string{"serve", "--link", "wires"}, exitUsage, "use auto, kernel, tun or netstack"},
		{[]string{"serve", "--metrics", "0.0.0.0:9464"}, exitUsage, "this host only"},
		{[]string{"serve", "--pool", "ten"}, exitUsage, "--pool"},
		{[]string{"serve", "--idle", "1ms"}, exitUsage, "a second at least"},
		{[]string{"serve", "--tls-cert", "x"}, exitUsage, "go together"},
		{[]string{"serve", "--data", "/nowhere"}, exitFailed, "borealis init --data /nowhere"},
		{[]string{"token", "new"}, exitUsage, "--operator is missing"},
		{[]string{"token", "new", "--operator", "a", "--ttl", "soon"}, exitUsage, "30d"},
		{[]string{"code", "new", "--ttl", "30d"}, exitUsage, "7d at most"},
		{[]string{"code", "new", "--uses", "0"}, exitUsage, "from 1 to"},
		{[]string{"version"}, exitDone, ""},
	} {
		code, _, text := call(t, c.args...)
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%q: exit %d, %q; want exit %d and %q", c.args, code, text, c.code, c.says)
		}
	}
}

// TestServeMakesNoDataRoot: a mistyped path is refused, and nothing is made there.
func TestServeMakesNoDataRoot(t *testing.T) {
	data := filepath.Join(t.TempDir(), "mistyped")
	if code, _, text := call(t, "serve", "--data", data); code != exitFailed || !strings.Contains(text, "borealis init --data "+data) {
		t.Errorf("exit %d, %q", code, text)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the folder was made")
	}
}

// TestNamesOfTheEngine: the console answers to the address that the engine tells, to
// the names it was given, and to the host's own, and to no other.
func TestNamesOfTheEngine(t *testing.T) {
	data := newRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{
			"serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack",
			"--public-endpoint", "engine.example.com", "--host", "console.example.com",
		}, in, io.Discard)
		in.Close()
	}()
	defer func() {
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("serve ended with %d", code)
		}
	}()
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.URL, "https://engine.example.com:") {
		t.Errorf("it tells %s", r.URL)
	}
	c := newClient(t, "https://"+r.Listen, "")
	for host, want := range map[string]int{
		"engine.example.com": 200, "console.example.com": 200, "localhost": 200, "127.0.0.1": 200, "evil.example": 421, "192.0.2.1": 421,
	} {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = host
		answer, err := c.http.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, answer.StatusCode, want)
		}
	}
}

func TestInitOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new", "root")
	code, out, text := call(t, "init", "--data", data, "--operator", "nora", "--json")
	var made struct{ Data, Operator, Password string }
	if err := json.Unmarshal([]byte(out), &made); code != exitDone || err != nil || made.Operator != "nora" || len(made.Password) < 15 {
		t.Fatalf("init: %d %q %q %v", code, out, text, err)
	}
	before := tree(t, data)
	code, out, text = call(t, "init", "--data", data)
	if code != exitFailed || out != "" || !strings.Contains(text, "nothing was changed") || !strings.Contains(text, "hint: ") {
		t.Errorf("second init: %d %q %q", code, out, text)
	}
	if after := tree(t, data); after != before {
		t.Errorf("the second init changed files:\n%s\n%s", before, after)
	}
	code, _, text = call(t, "operator", "add", "NORA", "--data", data)
	if code != exitFailed || !strings.Contains(text, "already") {
		t.Errorf("the same name again: %d %q", code, text)
	}
	code, _, text = call(t, "token", "new", "--operator", "jon", "--data", data)
	if code != exitFailed || !strings.Contains(text, `no operator named "jon"`) {
		t.Errorf("token of nobody: %d %q", code, text)
	}
	code, _, text = call(t, "code", "new", "--data", data)
	if code != exitFailed || !strings.Contains(text, "--engine HOST:PORT") {
		t.Errorf("code of an engine that never served: %d %q", code, text)
	}
	code, out, _ = call(t, "code", "new", "--data", data, "--engine", "engine.example:8443", "--json")
	var c struct{ Code string }
	if err := json.Unmarshal([]byte(out), &c); code != exitDone || err != nil {
		t.Fatalf("code new: %d %q", code, out)
	}
	parsed, err := wire.ParseCode(c.Code)
	if err != nil || parsed.Address != "engine.example:8443" {
		t.Errorf("code %q: %+v, %v", c.Code, parsed, err)
	}
}

// tree names the files of a folder with their sizes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, ".db-") {
			return err
		}
		content, err := os.ReadFile(path)
		b.WriteString(path + " " + strconv.Itoa(len(content)) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestInitWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, text := call(t, "init", "--data", filepath.Join(file, "root"))
	if code != exitFailed || !strings.Contains(text, "make the data root") || !strings.Contains(text, "hint: choose a folder") {
		t.Errorf("%d %q", code, text)
	}
}

func TestServeRefusesANewerDatabase(t *testing.T) {
	data := t.TempDir()
	if code, _, text := call(t, "init", "--data", data); code != exitDone {
		t.Fatal(text)
	}
	conn, err := sqlite.OpenConn(engine.Root(data).Database(), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA user_version = 4711", nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	code, _, text := call(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0")
	if code != exitFailed || !strings.Contains(text, "4711") || !strings.Contains(text, "newer") {
		t.Errorf("%d %q", code, text)
	}
}

func TestListenAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, text := call(t, "demo", "--listen", l.Addr().String(), "--udp-port", "0")
	if code != exitFailed || !strings.Contains(text, "address already in use") || !strings.Contains(text, "--listen") {
		t.Errorf("%d %q", code, text)
	}
}

// TestUDPPortInUse keeps the console up and says why there are no tunnels.
func TestUDPPortInUse(t *testing.T) {
	taken, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	c, _ := startDemo(t, "--udp-port", strconv.Itoa(port))
	var problem struct{ Code, Detail, Hint string }
	code := c.do(t.Context(), http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": c.device}, &problem)
	if code != http.StatusServiceUnavailable || problem.Code != "tunnels_unavailable" || !strings.Contains(problem.Detail+problem.Hint, strconv.Itoa(port)) {
		t.Errorf("connect: %d %+v", code, problem)
	}
}

// TestEnrolmentRefusals tries codes that must not work, and says what an agent's
// administrator reads.
func TestEnrolmentRefusals(t *testing.T) {
	data := t.TempDir()
	_, d := startDemo(t, "--data", data)
	_, out, _ := call(t, "code", "new", "--data", data)
	good, err := wire.ParseCode(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	enrol := func(code string) error {
		_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: t.TempDir(), Code: code})
		return err
	}
	wrongPin, unknown := good, good
	wrongPin.Pin[0] ^= 1
	unknown.Secret = wire.NewSecret()
	if err := enrol(good.String()); err != nil {
		t.Errorf("a good code: %v", err)
	}
	for name, c := range map[string]struct{ code, says string }{
		"used twice": {good.String(), "used"},
		"unknown":    {unknown.String(), "does not know"},
		"malformed":  {"brl1.nonsense", ""},
		"wrong pin":  {wrongPin.String(), good.Pin.String()},
	} {
		err := enrol(c.code)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want it to say %q", name, err, c.says)
		}
	}
	client := newClient(t, d.URL, d.APIToken)
	var all struct{ Total int }
	if client.do(t.Context(), http.MethodGet, "/api/devices", nil, &all); all.Total != 2 {
		t.Errorf("%d devices, want the demo's and the one with the good code", all.Total)
	}
}

// TestAgentRefusesAnotherEngine gives an enrolled agent the pin of another engine.
func TestAgentRefusesAnotherEngine(t *testing.T) {
	data := t.TempDir()
	_, d := startDemo(t, "--data", data)
	_, out, _ := call(t, "code", "new", "--data", data)
	mine := t.TempDir()
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: mine, Code: strings.TrimSpace(out)}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(mine, "Agent", "Borealis", "Certificates", "VPN_Client")
	if err := keys.SaveAgent(dir, keys.Pin{1, 2, 3}, strings.TrimPrefix(d.URL, "https://")); err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(agent.Config{Data: mine})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for a.Status().LastError == "" {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the agent says nothing")
		}
	}
	st := a.Status()
	cancel()
	<-done
	pin, err := engine.Root(data).Pin()
	if err != nil {
		t.Fatal(err)
	}
	if st.Connected || !strings.Contains(st.LastError, pin.String()) {
		t.Errorf("the agent says %q, connected %v; want the pin that it saw", st.LastError, st.Connected)
	}
}
