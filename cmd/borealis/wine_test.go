//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

// A windows is the whole job with a Windows agent, in its order: each part builds on the
// one before.
type windows struct {
	*fleet

	pc      *pc
	builder *builder
	device  string
}

const (
	agentExe  = `C:\Program Files\Borealis\borealis-agent.exe`
	agentData = `C:\ProgramData\Borealis`
	serviceAt = `HKLM\System\CurrentControlSet\Services\BorealisAgent`
	programAt = `HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\Borealis Agent`
	sourceAt  = `HKLM\System\CurrentControlSet\Services\EventLog\Application\Borealis Agent`
)

// TestWindowsAgent is the life of an agent on a Windows computer, from its download to its
// removal, with a real engine on a TUN and all that lies between.
func TestWindowsAgent(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	needWine(t)
	b := newBuilder(t)
	f, p := newFleetOfOne(t, b)
	w := &windows{fleet: f, pc: p, builder: b}
	t.Cleanup(func() {
		if t.Failed() {
			w.logs(t)
		}
	})
	for _, part := range []struct { // not subtests: what one starts the others use
		name string
		do   func(*testing.T)
	}{
		{"download", w.downloads},
		{"a wrong code changes nothing", w.wrongCode},
		{"install", w.installs},
		{"install again", w.installsAgain},
		{"what it is", w.inventory},
		{"terminal", w.terminals},
		{"the whole tree is killed", w.killsTrees},
		{"ports", w.opensPorts},
		{"engine is killed", w.engineKilled},
		{"idle", w.idles},
		{"power fails", w.powerFails},
		{"update", w.updates},
		{"a bad update is taken back", w.rollsBack},
		{"status and doctor", w.examines},
		{"uninstall", w.uninstalls},
	} {
		start := time.Now()
		part.do(t)
		t.Logf("%s: %v", part.name, time.Since(start).Round(time.Millisecond))
	}
}

// logs shows what the agent wrote.
func (w *windows) logs(t *testing.T) {
	for _, name := range []string{"install.log", "reverse_tunnel.log"} {
		text, _ := os.ReadFile(w.pc.disk("ProgramData", "Borealis", "Agent", "Logs", name))
		t.Logf("%s:\n%s", name, text)
	}
}

// downloads fetches the agent as a new computer does.
func (w *windows) downloads(t *testing.T) {
	response, err := w.client.http.Get(w.client.base + "/downloads/borealis-agent-windows-amd64.exe")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var program bytes.Buffer
	if _, err := program.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	built, err := os.ReadFile(filepath.Join(w.builder.dir, "agent-1.0.0.exe"))
	if err != nil || !bytes.Equal(built, program.Bytes()) {
		t.Fatalf("%d bytes came, %d were built: %v", program.Len(), len(built), err)
	}
	if program.Len() > 20<<20 {
		t.Errorf("the agent has %d bytes, more than 20 MiB", program.Len())
	}
	if err := os.MkdirAll(w.pc.disk("Downloads"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.pc.disk("Downloads", "agent.exe"), program.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
}

// left is what of the agent is on the computer.
func (w *windows) left() []string {
	var left []string
	for _, key := range []string{serviceAt, programAt, sourceAt} {
		if w.pc.has(key) {
			left = append(left, key)
		}
	}
	for _, dir := range []string{"Program Files/Borealis", "ProgramData/Borealis"} {
		if _, err := os.Stat(w.pc.disk(dir)); err == nil {
			left = append(left, dir)
		}
	}
	return left
}

// wrongCode installs with codes that no engine takes. The computer is as before.
func (w *windows) wrongCode(t *testing.T) {
	good := strings.TrimSpace(w.run("code", "new", "--data", w.data, "--engine", "192.0.2.1:8443"))
	parts := strings.Split(good, ".")
	parts[len(parts)-1] = strings.Repeat("A", 26)
	out := w.pc.run(t, exitFailed, `C:\Downloads\agent.exe`, "install", "--code", strings.Join(parts, "."))
	if !strings.Contains(out, "the engine refused") {
		t.Errorf("a code that the engine does not know: %s", out)
	}
	if left := w.left(); len(left) != 0 {
		t.Errorf("it left %q", left)
	}
}

func (w *windows) code() string {
	return strings.TrimSpace(w.run("code", "new", "--data", w.data, "--auto-approve", "--engine", "192.0.2.1:8443"))
}

func (w *windows) installs(t *testing.T) {
	w.pc.run(t, exitDone, `C:\Downloads\agent.exe`, "install", "--code", w.code())
	var list struct {
		Devices []struct {
			ID string `json:"id"`
		} `json:"devices"`
	}
	w.client.do(t.Context(), http.MethodGet, "/api/devices", nil, &list)
	if len(list.Devices) != 1 {
		t.Fatalf("the engine knows %d devices", len(list.Devices))
	}
	w.device, w.client.device = list.Devices[0].ID, list.Devices[0].ID
	w.online(t)
	for _, key := range []string{serviceAt, programAt} {
		if !w.pc.has(key) {
			t.Errorf("the registry has no %s", key)
		}
	}
	log, err := os.ReadFile(w.pc.disk("ProgramData", "Borealis", "Agent", "Logs", "install.log"))
	if err != nil || len(log) == 0 {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if !stamped.MatchString(line) {
			t.Errorf("a line of install.log without its time: %q", line)
		}
	}
	if open := w.pc.host.Output(t, "ss", "-Huan"); open != "" {
		t.Errorf("after the installation there are UDP sockets: %s", open)
	}
	if peers := w.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("after the installation the engine has peers: %s", peers)
	}
}

var stamped = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d`)

type deviceState struct {
	Online       bool           `json:"online"`
	OS           string         `json:"os"`
	AgentVersion string         `json:"agent_version"`
	Link         string         `json:"link"`
	Inventory    map[string]any `json:"inventory"`
}

func (w *windows) state(t *testing.T) (d deviceState) {
	t.Helper()
	w.client.do(t.Context(), http.MethodGet, "/api/devices/"+w.device, nil, &d)
	return d
}

// online waits until the engine sees the agent.
func (w *windows) online(t *testing.T) {
	t.Helper()
	w.eventually("the agent to be online", func() bool { return w.state(t).Online })
}

// installsAgain repairs what is there already, and changes nothing else.
func (w *windows) installsAgain(t *testing.T) {
	out := w.pc.run(t, exitDone, `C:\Downloads\agent.exe`, "install", "--code", w.code())
	if !strings.Contains(out, "already present") {
		t.Errorf("the second installation says %s", out)
	}
	w.online(t)
	var list struct{ Total int }
	w.client.do(t.Context(), http.MethodGet, "/api/devices", nil, &list)
	if list.Total != 1 {
		t.Errorf("the engine knows %d devices", list.Total)
	}
}

// inventory looks at what the agent says about the computer.
func (w *windows) inventory(t *testing.T) {
	w.eventually("the inventory", func() bool { return len(w.state(t).Inventory) > 0 })
	d := w.state(t)
	if d.OS != "windows" || d.Link != "netstack" || d.AgentVersion != "1.0.0" {
		t.Errorf("%+v", d)
	}
	if cores, _ := d.Inventory["cores"].(float64); cores < 1 || d.Inventory["link_reason"] == "" {
		t.Errorf("%+v", d.Inventory)
	}
	if pids := w.pc.processes("borealis-agent.exe"); len(pids) == 1 {
		t.Logf("the idle agent has %d MiB resident", residentMiB(t, pids[0]))
	} else {
		t.Errorf("the agent has processes %v", pids)
	}
}

// sequences are what a console sends besides text.
var sequences = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\a]*\a)`)

const end = 4 << 10 // bytes of output that is looked at

// says reads until the text at the end of the output contains s.
func (w *term) says(ctx context.Context, s string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, usual)
	defer cancel()
	last := func() string { return w.text.String()[max(0, w.text.Len()-end):] }
	for !strings.Contains(sequences.ReplaceAllString(last(), ""), s) {
		w.next(ctx)
	}
}

// prompt opens a command prompt.
func (w *windows) prompt(t *testing.T) *term {
	t.Helper()
	w.client.connect(t.Context())
	w.client.untilUp(t.Context())
	w.client.shell = "cmd"
	term := w.client.terminal(t.Context(), "", -1)
	term.says(t.Context(), `C:\>`)
	return term
}

// terminals types into the command prompt.
func (w *windows) terminals(t *testing.T) {
	ctx := t.Context()
	term := w.prompt(t)
	term.typed(ctx, "echo äöü€漢字\r")
	term.says(ctx, "echo äöü€漢字\r\näöü€漢字")

	w.builder.tool([]string{"GOOS=windows", "GOARCH=amd64"}, "build", "-overlay", w.builder.overlay, "-o", w.pc.disk("size.exe"), "./testdata/size")
	term.typed(ctx, "C:\\size\r")
	term.says(ctx, "size 100x30")
	term.send(ctx, map[string]any{"type": "resize", "cols": 132, "rows": 43, "person": true})
	for !strings.Contains(term.text.String(), "size 132x43") { // nobody says when the console has it
		before := term.text.Len()
		term.typed(ctx, "C:\\size\r")
		for !strings.Contains(term.text.String()[before:], "size 1") {
			term.next(ctx)
		}
	}

	line := strings.Repeat("0123456789abcdef", 4) + "\r\n"
	if err := os.WriteFile(w.pc.disk("big.txt"), bytes.Repeat([]byte(line), 3<<20/len(line)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := term.offset
	term.typed(ctx, "type C:\\big.txt & echo all of^ it\r")
	term.says(ctx, "all of it\r\n")
	if got := term.offset - before; got < 2<<20 {
		t.Errorf("of 3 MiB came %d bytes", got)
	}
	term.typed(ctx, "exit 37\r")
	if m := term.control(ctx, "exit"); m["status"] != float64(37) {
		t.Errorf("the shell ended with %v", m)
	}
}

// killsTrees ends a tunnel with a shell that has started others.
func (w *windows) killsTrees(t *testing.T) {
	ctx, c := t.Context(), w.client
	term := w.prompt(t)
	term.typed(ctx, "cmd.exe /k rem child\r")
	w.eventually("the child", func() bool { return len(w.pc.processes("rem\x00child")) > 0 })
	if code := c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device+"&force=true", nil, nil); code != http.StatusOK {
		t.Fatalf("disconnect: %d", code)
	}
	w.eventually("the end of the child", func() bool { return len(w.pc.processes("rem\x00child")) == 0 })
}

// opensPorts reaches a port that is allowed, and not one where a server listens but that is
// closed.
func (w *windows) opensPorts(t *testing.T) {
	ctx, c := t.Context(), w.client
	(&machine{host: w.pc.host}).listens(t, 3389, 445)
	c.connect(ctx)
	up := c.untilUp(ctx)
	if err := answers("tcp", up.VirtualIP, 3389); err != nil {
		t.Errorf("remote desktop: %v", err)
	}
	if err := answers("udp", up.VirtualIP, 3389); err != nil {
		t.Errorf("remote desktop over UDP: %v", err)
	}
	if err := answers("tcp", up.VirtualIP, 445); !refused(err) {
		t.Errorf("a closed port: %v", err)
	}
	if err := answers("tcp", up.VirtualIP, 5985); !refused(err) {
		t.Errorf("an open port where nobody listens: %v", err)
	}
	c.setPorts(ctx, wanted{Custom: []customPort{tcpPort(445)}})
	if err := answers("tcp", up.VirtualIP, 445); err != nil {
		t.Errorf("the port that was opened: %v", err)
	}
}

// engineKilled kills the engine under a tunnel. The agent comes back by itself, without one.
func (w *windows) engineKilled(t *testing.T) {
	ctx := t.Context()
	if err := w.engine.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-w.engine.Done()
	w.serve = []string{"--idle", "3s"} // for the next part
	w.restarted(t)
	if st := w.client.status(ctx); st.State != "ended" || st.Reason != "engine_restart" {
		t.Errorf("%+v", st)
	}
}

// restarted starts the engine and waits for the agent.
func (w *windows) restarted(t *testing.T) {
	t.Helper()
	w.startEngine()
	w.client.device = w.device
	w.online(t)
}

// idles has output run on and nobody type.
func (w *windows) idles(t *testing.T) {
	ctx, c := t.Context(), w.client
	term := w.prompt(t)
	term.typed(ctx, "for /l %i in (0,0,1) do @echo on and on\r")
	if m := term.control(ctx, "ended"); m["reason"] != "idle_timeout" {
		t.Errorf("the terminal was told %v", m)
	}
	if st := c.status(ctx); st.Reason != "idle_timeout" {
		t.Errorf("%+v", st)
	}
	w.eventually("a line about it in the agent's log", func() bool {
		log, _ := os.ReadFile(w.pc.disk("ProgramData", "Borealis", "Agent", "Logs", "reverse_tunnel.log"))
		return strings.Contains(string(log), "reason=idle_timeout")
	})
	w.stopEngine(t)
	w.serve = nil
	w.restarted(t)
}

// powerFails kills the agent in the middle of a tunnel, with the whole computer. The service
// starts with it again, and the tunnel stays down.
func (w *windows) powerFails(t *testing.T) {
	ctx, c := t.Context(), w.client
	c.connect(ctx)
	c.untilUp(ctx)
	w.pc.off()
	if st := c.until(ctx, "the end", func(st tunnelState) bool { return st.State == "ended" }); st.Reason != "agent_lost" {
		t.Errorf("ended as %q", st.Reason)
	}
	w.pc.on()
	w.online(t)
	if peers := w.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("a restarted agent has a peer: %q", peers)
	}
	if st := c.status(ctx); st.State != "ended" {
		t.Errorf("a restarted agent has a tunnel: %+v", st)
	}
}

// examines asks the agent itself.
func (w *windows) examines(t *testing.T) {
	var status struct {
		Connected bool   `json:"connected"`
		Version   string `json:"version"`
	}
	if out := w.pc.run(t, exitDone, agentExe, "status", "--json"); json.Unmarshal([]byte(out), &status) != nil || !status.Connected || status.Version != "1.1.0" {
		t.Errorf("status: %s", out)
	}
	var doctor struct {
		Driver struct {
			Present bool   `json:"present"`
			Reason  string `json:"reason"`
		} `json:"driver"`
		Checks []struct {
			Name   string `json:"name"`
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
		} `json:"checks"`
	}
	out := w.pc.start(w.pc.command("wine", agentExe, "doctor", "--json")).text
	_, object, _ := strings.Cut(out, "{") // WireGuard says before it what Wine lacks, and what is wrong comes after it
	if err := json.NewDecoder(strings.NewReader("{" + object)).Decode(&doctor); err != nil ||
		doctor.Driver.Present || doctor.Driver.Reason == "" || len(doctor.Checks) < 8 {
		t.Fatalf("doctor: %v %s", err, out)
	}
	for _, c := range doctor.Checks {
		if !c.OK && c.Name != "folders" { // Wine gives every file to everyone
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
}

// uninstalls leaves nothing behind.
func (w *windows) uninstalls(t *testing.T) {
	out := w.pc.run(t, exitDone, agentExe, "uninstall", "--purge")
	for _, key := range []string{serviceAt, programAt, sourceAt} {
		if w.pc.has(key) {
			t.Errorf("the registry still has %s; it said\n%s", key, out)
		}
	}
	if !strings.Contains(out, "when it starts the next time") {
		t.Errorf("of the program that runs it says\n%s", out)
	}
	w.pc.off()
	w.pc.on()
	if left := w.left(); len(left) != 0 {
		t.Errorf("after a restart %q are left; it said\n%s", left, out)
	}
	w.eventually("the device to be offline", func() bool { return !w.state(t).Online })
}
