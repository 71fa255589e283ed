//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

// A killing has an engine and an agent that are killed, again and again, in the middle of their
// work, and what the engine has acknowledged before.
type killing struct {
	*fleet
	agent *machine
	self  string // this program

	log     *lines // of the engine that runs
	begun   time.Time
	back    []time.Duration // from a start after a kill to ready
	tunnels []string        // whose making was acknowledged
	port    int             // that was opened last, never twice
	opened  []int           // ports whose opening was acknowledged
}

// lines is what a program has logged. It is safe for concurrent use.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k := &killing{fleet: newFleet(t), self: self}
	k.agent = k.agents[0]
	for _, m := range k.agents {
		m.stop()
	}
	k.stopEngine(t)
	return k
}

// TestKilledAtEachStep kills the engine, and then the agent, at each point that its log names from
// its start over a tunnel's whole life to its end. What comes after finds nothing of before.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	k := newKilling(t)
	t.Run("engine", func(t *testing.T) {
		points := k.pointsOfEngine(t)
		missed := 0
		for _, at := range points {
			if !k.engineDiesAt(t, at) {
				t.Logf("the engine did not come to %q", at)
				missed++
			}
		}
		if len(points) < 20 || missed > len(points)/5 {
			t.Errorf("killed at %d of %d points", len(points)-missed, len(points))
		}
		t.Logf("killed at %d points: %s", len(points)-missed, strings.Join(points, ", "))
	})
	t.Run("agent", func(t *testing.T) {
		k.start(t, "")
		points := k.pointsOfAgent(t)
		missed := 0
		for _, at := range points {
			if !k.agentDiesAt(t, at) {
				t.Logf("the agent did not come to %q", at)
				missed++
			}
		}
		if len(points) < 10 || missed > len(points)/5 {
			t.Errorf("killed at %d of %d points", len(points)-missed, len(points))
		}
		t.Logf("killed at %d points: %s", len(points)-missed, strings.Join(points, ", "))
	})
	k.reckon(t)
}

// TestKilledAnywhere kills the engine, the agent or both at random moments of a job, as often as
// BOREALIS_KILLS says.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	times := 10
	if s := os.Getenv("BOREALIS_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		times = n
	}
	k := newKilling(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	longest := 500 * time.Millisecond
	for range times {
		k.start(t, "")
		k.agent.process = k.agent.host.Start(t, exec.Command(filepath.Join(k.bin, "borealis-agent"), "run", "--data", k.agent.data, "--shell", "/bin/sh"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool, 1)
		began := time.Now()
		go func() { done <- k.job(ctx) }()
		select {
		case <-time.After(time.Duration(random.Int64N(int64(longest)))):
		case <-done:
			longest = min(time.Since(began), time.Second) // that is how long a job takes
			done <- true
		}
		who := random.IntN(10)
		if who > 0 { // else the agent alone
			_ = k.engine.Signal(syscall.SIGKILL)
			<-k.engine.Done()
		}
		if who < 4 {
			k.agent.stop()
		}
		cancel()
		<-done
		if who == 0 { // the engine notices
			k.untilNoTunnel(t, "a killed agent")
			k.stopEngine(t)
		}
		if who >= 4 {
			k.agent.stop()
		}
		k.noShells(t)
	}
	k.reckon(t)
}

// start starts an engine that kills itself when its log comes to a point, or never. When it gets
// as far as being ready, nothing of what ran before may be there. It reports whether it got so far.
func (k *killing) start(t *testing.T, at string) bool {
	t.Helper()
	c := exec.Command(k.self, append([]string{"serve", "--json", "--data", k.data, "--listen", ":8443", "--log-level", "debug"}, k.serve...)...)
	c.Env = append(os.Environ(), doomedAs+"=engine", doomedAt+"="+at)
	if at == "" { // the real program
		c.Path, c.Env = filepath.Join(k.bin, "borealis"), os.Environ()
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	k.log = new(lines)
	c.Stdout, c.Stderr = in, k.log
	k.begun = time.Now()
	k.engine = k.host.Start(t, c)
	in.Close()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var r ready
	if err != nil || json.Unmarshal(line, &r) != nil {
		if at != "" {
			<-k.engine.Done()
			return false
		}
		t.Fatalf("after a kill serve said %q: %v\n%s", line, err, k.log)
	}
	k.back = append(k.back, time.Since(k.begun))
	k.nothingIsLeft(t, at)
	return true
}

// nothingIsLeft looks at a host whose engine has just begun.
func (k *killing) nothingIsLeft(t *testing.T, next string) {
	t.Helper()
	alive := func() bool { // it may die meanwhile
		select {
		case <-k.engine.Done():
			return next == ""
		default:
			return true
		}
	}
	saved := k.here("iptables-save")
	peers, err := exec.Command("wg", "show", "borealis0", "peers").CombinedOutput()
	routes, addresses := k.here("ip", "-4", "route", "show", "table", "main"), k.here("ip", "-4", "-o", "addr")
	if !alive() {
		return
	}
	if strings.Contains(saved, "BRL-A-") || strings.Contains(saved, "BRL-D-") || strings.Count(saved, "-A OUTPUT -o borealis0 -j BRL-OUT") != 1 {
		t.Errorf("rules are left, or missing:\n%s", saved)
	}
	if err != nil || len(peers) > 0 {
		t.Errorf("peers: %s %v", peers, err)
	}
	if strings.Count(routes, "dev borealis0 ") != 1 || strings.Count(addresses, ": borealis0 ") != 1 {
		t.Errorf("routes\n%saddresses\n%s", routes, addresses)
	}
	if open := k.openTunnels(t.Context()); len(open) > 0 && alive() {
		t.Errorf("tunnels of an engine that is dead are open: %v", open)
	}
}

// openTunnels are the ids of those that the API lists.
func (k *killing) openTunnels(ctx context.Context) []string {
	var all struct {
		Tunnels []struct {
			ID string `json:"tunnel_id"`
		}
	}
	k.call(ctx, http.MethodGet, "/api/tunnels", "", &all)
	var ids []string
	for _, one := range all.Tunnels {
		ids = append(ids, one.ID)
	}
	return ids
}

// untilNoTunnel waits until the engine that runs has no tunnel, and looks whether it is true.
func (k *killing) untilNoTunnel(t *testing.T, after string) {
	t.Helper()
	over := time.After(usual)
	for len(k.openTunnels(t.Context())) > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-over:
			t.Fatalf("after %s its tunnel does not end:\n%s", after, k.log)
		}
	}
	if peers := k.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("after %s there are the peers %s", after, peers)
	}
	if saved := k.here("iptables-save"); strings.Contains(saved, "BRL-A-") {
		t.Errorf("after %s there are the rules\n%s", after, saved)
	}
}

// noShells waits until what an agent's shells have started is gone.
func (k *killing) noShells(t *testing.T) {
	t.Helper()
	k.eventually("the end of all that a shell has started", func() bool {
		found, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if b, _ := os.ReadFile(path); strings.HasPrefix(strings.ReplaceAll(string(b), "\x00", " "), nap) { // a process may have gone
				return false
			}
		}
		return true
	})
}

var point = regexp.MustCompile(`(?m)msg=(\S+)(?:.* step=(\S+))?`)

// pointsOf are the points in a log, each once, as the ends of a line or the beginnings of one.
func pointsOf(log string) []string {
	var all []string
	for _, found := range point.FindAllStringSubmatch(log, -1) {
		at := "msg=" + found[1] + " "
		if found[2] != "" {
			at = "step=" + found[2] + "\n"
		}
		if !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

// pointsOfEngine are the points to which an engine comes that does a job and is stopped.
func (k *killing) pointsOfEngine(t *testing.T) []string {
	if !k.start(t, "") {
		t.Fatal("the engine does not start")
	}
	k.agent.process = k.doomedAgent(t, "", new(lines))
	if !k.job(t.Context()) {
		t.Fatalf("the job cannot be done: %s", k.log)
	}
	k.stopEngine(t)
	k.agent.stop()
	return pointsOf(k.log.String())
}

// engineDiesAt has an engine do the job until it dies. It reports whether it did.
func (k *killing) engineDiesAt(t *testing.T, at string) bool {
	if !k.start(t, at) {
		return true
	}
	k.agent.process = k.doomedAgent(t, "", new(lines))
	defer k.noShells(t)
	defer k.agent.stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	engine := k.engine
	go func() { <-engine.Done(); cancel() }()
	k.job(ctx)
	k.stopEngine(t) // it may die at that, too
	return k.engine.Wait() != nil
}

// doomedAgent starts an agent that kills itself when its log comes to a point, or never.
func (k *killing) doomedAgent(t *testing.T, at string, log io.Writer) *nstest.Process {
	c := exec.Command(k.self, k.agent.data)
	c.Env = append(os.Environ(), doomedAs+"=agent", doomedAt+"="+at)
	c.Stderr = log
	return k.agent.host.Start(t, c)
}

// pointsOfAgent are the points to which an agent comes that has a tunnel and is stopped.
func (k *killing) pointsOfAgent(t *testing.T) []string {
	log := new(lines)
	k.agent.process = k.doomedAgent(t, "", log)
	if !k.job(t.Context()) {
		t.Fatalf("the job cannot be done: %s", log)
	}
	_ = k.agent.process.Signal(syscall.SIGTERM)
	<-k.agent.process.Done()
	return pointsOf(log.String())
}

// agentDiesAt has an agent do the job until it dies, under an engine that goes on. It reports
// whether it died. The next agent has no tunnel, and its engine knows of none.
func (k *killing) agentDiesAt(t *testing.T, at string) bool {
	k.agent.process = k.doomedAgent(t, at, new(lines))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	process := k.agent.process
	go func() { <-process.Done(); cancel() }()
	k.job(ctx)
	_ = k.agent.process.Signal(syscall.SIGTERM) // it may die at that, too
	err := k.agent.process.Wait()
	k.untilNoTunnel(t, "an agent that died at "+at)
	k.noShells(t)
	return err != nil
}
