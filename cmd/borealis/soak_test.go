//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/tunnel/wg"
)

// A soak is an engine as a program of its own, with fleets of agents that are programs too, so that
// what is measured of the engine is the engine's.
type soak struct {
	b       *testing.B
	bin     string
	data    string
	listen  string
	metrics string
	engine  *exec.Cmd
	client  *client
	figures []figure

	operators []*client // each has streamsOfAnOperator devices
}

// number is a number of the environment, or what it usually is.
func number(b *testing.B, name string, usual int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkSoakStorm is ten thousand agents that come at one moment, and again after the engine was killed, while
// an operator works. BOREALIS_SOAK_AGENTS changes that. One run measures everything: use -benchtime 1x.
func BenchmarkSoakStorm(b *testing.B) {
	many := number(b, "BOREALIS_SOAK_AGENTS", 10000)
	s := newSoak(b)
	for b.Loop() {
		s.simulate(many)
		s.storm(many)
	}
	report(b, fmt.Sprintf("Soak: %d simulated agents come at one moment", many), s.figures)
}

// BenchmarkSoak is the load that an engine has to bear: ten thousand agents, and a thousand tunnels in whose
// terminals somebody types, for half an hour. Then everything ends, and what the engine holds is compared with
// what it held before. BOREALIS_SOAK_AGENTS, _TUNNELS and _MINUTES change that.
func BenchmarkSoak(b *testing.B) {
	many, tunnels := number(b, "BOREALIS_SOAK_AGENTS", 10000), number(b, "BOREALIS_SOAK_TUNNELS", 1000)
	minutes := number(b, "BOREALIS_SOAK_MINUTES", 30)
	s := newSoak(b)
	for b.Loop() {
		s.simulate(many)
		ids := s.agents(tunnels)
		s.tunnels(many+tunnels, ids, time.Duration(minutes)*time.Minute)
	}
	report(b, fmt.Sprintf("Soak: %d simulated agents, %d tunnels, %d minutes", many, tunnels, minutes), s.figures)
}

func (s *soak) note(what, format string, args ...any) {
	f := figure{what, fmt.Sprintf(format, args...)}
	s.b.Logf("%-80s %s", f.what, f.value)
	s.figures = append(s.figures, f)
}

func newSoak(b *testing.B) *soak {
	b.Helper()
	s := &soak{b: b, bin: b.TempDir(), data: filepath.Join(b.TempDir(), "root")}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", s.bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	s.listen, s.metrics = "127.0.0.1:"+freePort(b), "127.0.0.1:"+freePort(b)
	s.run("init", "--data", s.data)
	return s
}

// freePort is a TCP port of loopback that nobody listens on.
func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

func (s *soak) run(args ...string) string {
	s.b.Helper()
	out, err := exec.Command(filepath.Join(s.bin, "borealis"), args...).Output()
	if err != nil {
		s.b.Fatalf("borealis %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// start starts the engine and returns when it is ready.
func (s *soak) start() {
	s.b.Helper()
	s.engine = exec.Command(filepath.Join(s.bin, "borealis"), "serve", "--json", "--data", s.data, "--listen", s.listen, "--udp-port", "0", "--link", string(wg.Netstack), "--metrics", s.metrics)
	said := s.child(s.engine)
	var r ready
	if line, err := said.ReadBytes('\n'); err != nil || json.Unmarshal(line, &r) != nil {
		s.b.Fatalf("serve said %q: %v", line, err)
	}
}

// child starts a program that ends with the benchmark, and returns what it says.
func (s *soak) child(c *exec.Cmd) *bufio.Reader {
	s.b.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		s.b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.b.Fatal(err)
	}
	s.b.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return bufio.NewReader(out)
}

// fleet starts this program in another role, with a pipe to its standard input.
func (s *soak) fleet(role string, args ...string) (said *bufio.Reader, tell io.Writer) {
	s.b.Helper()
	self, err := os.Executable()
	if err != nil {
		s.b.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), doomedAs+"="+role)
	in, err := c.StdinPipe()
	if err != nil {
		s.b.Fatal(err)
	}
	return s.child(c), in
}

// simulate enrols the simulated agents, starts the engine, and lets them come.
func (s *soak) simulate(n int) {
	s.b.Helper()
	said, tell := s.fleet("sim-fleet", strconv.Itoa(n))
	pins := make([]string, n)
	for i := range pins {
		line, err := said.ReadString('\n')
		if err != nil {
			s.b.Fatal(err)
		}
		pins[i] = strings.TrimSpace(line)
	}
	s.enrol(pins)
	s.start()
	s.client = newClient(s.b, "https://"+s.listen, s.run("token", "new", "--operator", "admin", "--data", s.data))
	s.client.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	before := rss(s.b, s.engine.Process.Pid)
	var pin struct{ Pin string }
	if err := json.Unmarshal([]byte(s.run("keys", "show", "--json", "--data", s.data)), &pin); err != nil {
		s.b.Fatal(err)
	}
	began := time.Now()
	fmt.Fprintln(tell, s.listen, pin.Pin)
	s.await(n)
	s.note(fmt.Sprintf("%d agents come at one moment, all online after", n), "%.1f s", time.Since(began).Seconds())
	s.note("engine, resident, for each connected agent", "%.0f KiB", (rss(s.b, s.engine.Process.Pid)-before)*1024/float64(n))
}

// enrol makes active devices of identities.
func (s *soak) enrol(pins []string) {
	s.b.Helper()
	db, err := store.Open(s.b.Context(), engine.Root(s.data).Database())
	if err != nil {
		s.b.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	for i, pin := range pins {
		hash := [32]byte{byte(i / usesOfACode), byte(i / usesOfACode >> 8), 1}
		if i%usesOfACode == 0 {
			code := store.Code{Uses: usesOfACode, AutoApprove: true, CreatedBy: "soak", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
			if _, err := db.AddCode(s.b.Context(), hash, code, store.Record{}); err != nil {
				s.b.Fatal(err)
			}
		}
		d := store.Device{Hostname: fmt.Sprintf("sim-%05d", i), OS: "linux", Pin: pin}
		if _, err := db.RedeemCode(s.b.Context(), hash, d, now, store.Record{}); err != nil {
			s.b.Fatal(err)
		}
	}
}

// await waits until so many agents are online.
func (s *soak) await(n int) {
	s.b.Helper()
	limit := time.After(5 * time.Minute)
	for s.metric("borealis_agents_connected") < float64(n) {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-limit:
			s.b.Fatalf("%v of %d agents are online", s.metric("borealis_agents_connected"), n)
		}
	}
}

// metric is a figure that the engine itself tells.
func (s *soak) metric(name string) float64 {
	s.b.Helper()
	answer, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return -1 // it is being killed
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.b.Fatal(err)
			}
			return f
		}
	}
	s.b.Fatalf("the engine does not tell %s", name)
	return 0
}

// storm kills the engine and starts it again: all agents come back at once, while an operator works.
func (s *soak) storm(n int) {
	s.b.Helper()
	if err := s.engine.Process.Kill(); err != nil {
		s.b.Fatal(err)
	}
	_ = s.engine.Wait()
	began := time.Now()
	s.start()
	s.note("engine killed with kill -9 → it is ready again", "%.2f s", time.Since(began).Seconds())
	ctx, stop := context.WithCancel(s.b.Context())
	took := make(chan []time.Duration)
	go func() { took <- s.operates(ctx) }()
	s.await(n)
	back := time.Since(began)
	stop()
	all := <-took
	s.note(fmt.Sprintf("engine killed → all %d agents are back", n), "%.1f s", back.Seconds())
	s.note(fmt.Sprintf("an operator's request meanwhile, p50 / p99 of %d", len(all)), "%s", quantiles(all, 0.5, 0.99))
}

// operates asks for the pages that operators look at, until ctx ends.
func (s *soak) operates(ctx context.Context) (took []time.Duration) {
	for i := 0; ctx.Err() == nil; i++ {
		path := []string{"/api/devices", "/api/tunnels", "/api/activity"}[i%3]
		began := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client.base+path, http.NoBody)
		if err != nil {
			break
		}
		req.Header.Set("Authorization", "Bearer "+s.client.token)
		answer, err := s.client.http.Do(req)
		if err != nil {
			break
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		took = append(took, time.Since(began))
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return took
}

// agents starts real agents, a hundred in each program, for one that has all would collect the garbage of all
// whenever one of them rests. It returns their devices' ids.
func (s *soak) agents(n int) (ids []string) {
	s.b.Helper()
	for len(ids) < n {
		code := s.run("code", "new", "--auto-approve", "--uses", strconv.Itoa(usesOfACode), "--engine", s.listen, "--data", s.data)
		said, _ := s.fleet("agent-fleet", s.b.TempDir(), code)
		for range usesOfACode {
			line, err := said.ReadString('\n')
			if err != nil {
				s.b.Fatal(err)
			}
			ids = append(ids, strings.TrimSpace(line))
		}
	}
	return ids[:n]
}

// A holding is what the engine has at a moment.
type holding struct{ goroutines, descriptors, resident float64 }

func (s *soak) holds() holding {
	s.b.Helper()
	return holding{s.metric("go_goroutines"), s.metric("process_open_fds"), rss(s.b, s.engine.Process.Pid)}
}

func (h holding) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f descriptors, %.0f MiB", h.goroutines, h.descriptors, h.resident)
}

// warmUp is how long all terminals are typed in before anything is compared, so that memory has been as full as it
// gets, and as scattered.
const warmUp = 5 * time.Minute

// tunnels brings all tunnels up, types in them for a while, in ever new ones, and ends them all.
func (s *soak) tunnels(online int, ids []string, long time.Duration) {
	s.b.Helper()
	s.await(online)
	for range (len(ids) + streamsOfAnOperator - 1) / streamsOfAnOperator {
		s.operators = append(s.operators, s.operator())
	}
	s.connectAll(ids, "first time") // what is made once and kept is made now
	s.typing(ids, min(long, warmUp))
	s.disconnectAll(ids)
	before := s.settle()
	s.note("engine, all agents connected and no tunnel", "%v", before)
	s.connectAll(ids, "again")
	took, fresh := s.typing(ids, long)
	s.note(fmt.Sprintf("key → echo in %d terminals at once, p50 / p99 / max of %d", len(ids), len(took)), "%s", quantiles(took, 0.5, 0.99, 1))
	s.note("terminals and tunnels made meanwhile", "%d", fresh)
	s.note(fmt.Sprintf("engine, %d tunnels with a terminal each", len(ids)), "%v", s.holds())
	s.disconnectAll(ids)
	after := s.settle()
	s.note("engine, after the end of all tunnels", "%v", after)
	change := func(a, b float64) float64 { return 100 * (b - a) / a }
	s.note("change over all this: goroutines / descriptors / resident", "%+.1f / %+.1f / %+.1f %%",
		change(before.goroutines, after.goroutines), change(before.descriptors, after.descriptors), change(before.resident, after.resident))
	if change(before.goroutines, after.goroutines) > 2 || change(before.descriptors, after.descriptors) > 2 || change(before.resident, after.resident) > 2 {
		s.b.Errorf("something is left: before %v, after %v", before, after)
	}
}

// settle waits until what the engine holds does not become less any more, and returns the least of each. Between
// two collections a connected fleet's pings alone leave a tenth more resident.
func (s *soak) settle() holding {
	s.b.Helper()
	for _, c := range slices.Concat(s.operators, []*client{s.client}) {
		c.http.CloseIdleConnections()
	}
	least := s.holds()
	const enough = 90 // seconds: the engine gives memory back half a minute after the last tunnel
	for same := 0; same < enough; same++ {
		<-time.After(time.Second)
		now := s.holds()
		if now.goroutines < least.goroutines || now.descriptors < least.descriptors || now.resident < least.resident {
			same = 0
		}
		least = holding{min(least.goroutines, now.goroutines), min(least.descriptors, now.descriptors), min(least.resident, now.resident)}
	}
	return least
}
