//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// BenchmarkMainJob measures the product as two real processes on loopback, with
// WireGuard inside the processes. With BOREALIS_BENCHMARKS=FILE it writes the figures
// there as well. One run measures everything: use -benchtime 1x.
func BenchmarkMainJob(b *testing.B) {
	ctx := b.Context()
	p := startPair(b, "netstack")
	figures := []figure{
		{"engine, resident, console idle", fmt.Sprintf("%.0f MiB", rss(b, p.engine.Process.Pid))},
		{"agent, resident, no tunnel", fmt.Sprintf("%.0f MiB", rss(b, p.agent.Process.Pid))},
	}
	for b.Loop() {
		figures = append(figures, p.connects(ctx, 200)...)
		p.client.connect(ctx)
		p.client.untilUp(ctx)
		figures = append(figures, p.prompts(ctx, 40))
		figures = append(figures, p.echo(ctx, 2000), p.throughput(ctx, 200<<20), p.interrupt(ctx, 20))
		figures = append(figures, p.locks(ctx, 40))
	}
	ended := p.client.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?force=true&device_id="+p.client.device, nil, nil)
	if ended != http.StatusOK {
		b.Fatalf("disconnect: %d", ended)
	}
	<-time.After(7 * time.Second) // the agent gives its memory back a while after the tunnel
	figures = append(figures,
		figure{"engine, resident, after all of this", fmt.Sprintf("%.0f MiB", rss(b, p.engine.Process.Pid))},
		figure{"agent, resident, after all of this", fmt.Sprintf("%.0f MiB", rss(b, p.agent.Process.Pid))})
	report(b, "Engine and agent as two processes on loopback, WireGuard inside the processes", figures)
}

// BenchmarkPorts measures how fast a change of the allowed ports is in force, with the
// engine on a TUN and its host's packet filter before it. It changes the network of
// where it runs, so it wants a namespace of its own; "make bench" makes one.
func BenchmarkPorts(b *testing.B) {
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 || os.Getuid() != 0 {
		b.Skip("run this as root in a network namespace of its own")
	}
	ctx := b.Context()
	p := startPair(b, "tun")
	p.client.connect(ctx)
	t := toggler{p: p, ip: p.client.untilUp(ctx).VirtualIP}
	l, err := net.Listen("tcp", "127.0.0.1:7001")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go echoStreams(l)
	for b.Loop() {
		t.times(ctx, 300)
	}
	report(b, "Ports: engine on a TUN, rules in iptables (nft)", []figure{
		{"switch off, request → new connection refused, p50 / p99 of 300", quantiles(t.refused, 0.5, 0.99)},
		{"switch off, request → open connection dead, p50 / p99 of 300", quantiles(t.dead, 0.5, 0.99)},
		{"switch on, request → new connection answered, p50 / p99 of 300", quantiles(t.answered, 0.5, 0.99)},
		{"proof of a live tunnel, p50 / p99 of 20", quantiles(p.proofs(ctx, 20), 0.5, 0.99)},
	})
}

// A toggler opens and closes a port of a live tunnel.
type toggler struct {
	p                       *pair
	ip                      string
	refused, dead, answered []time.Duration
}

func (t *toggler) times(ctx context.Context, n int) {
	revision := t.p.client.ports(ctx).Revision
	set := func(w wanted) {
		answer, code := t.p.client.tryPorts(ctx, revision, w)
		if code != http.StatusOK {
			t.p.b.Fatalf("set ports: %d %+v", code, answer)
		}
		revision = answer.Revision
	}
	for range n {
		start := time.Now()
		set(wanted{Custom: []customPort{tcpPort(7001)}})
		c, err := net.Dial("tcp", t.ip+":7001")
		if err == nil {
			err = echoes(c)
		}
		if err != nil {
			t.p.b.Fatal(err)
		}
		t.answered = append(t.answered, time.Since(start))
		dead := make(chan time.Time, 1)
		go func() {
			_, _ = c.Read(make([]byte, 1))
			dead <- time.Now()
		}()
		start = time.Now()
		set(wanted{})
		if err := answers("tcp", t.ip, 7001); !refused(err) {
			t.p.b.Fatalf("a closed port: %v", err)
		}
		t.refused = append(t.refused, time.Since(start))
		t.dead = append(t.dead, (<-dead).Sub(start))
		c.Close()
	}
}

// proofs measures whole proofs.
func (p *pair) proofs(ctx context.Context, n int) []time.Duration {
	var took []time.Duration
	for range n {
		start := time.Now()
		if proof := p.client.proven(ctx).Proof; !proof.OK {
			p.b.Fatalf("the proof is %+v", *proof)
		}
		took = append(took, time.Since(start))
	}
	return took
}

// A figure is one line of the result.
type figure struct{ what, value string }

// A pair is an engine and an agent as processes.
type pair struct {
	b             *testing.B
	bin, data     string
	client        *client
	engine, agent *exec.Cmd
}

func startPair(b *testing.B, link string) *pair {
	b.Helper()
	bin, data, mine := b.TempDir(), b.TempDir(), b.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".", "../borealis-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	output := func(name string, args ...string) string {
		out, err := exec.Command(filepath.Join(bin, name), args...).Output()
		if err != nil {
			b.Fatalf("%s %q: %v", name, args, err)
		}
		return strings.TrimSpace(string(out))
	}
	start := func(name string, args ...string) (*exec.Cmd, *bufio.Reader) {
		c := exec.Command(filepath.Join(bin, name), args...)
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := c.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM); _ = c.Wait() })
		return c, bufio.NewReader(out)
	}
	p := &pair{b: b, bin: bin, data: data}
	output("borealis", "init", "--data", data)
	engine, said := start("borealis", "serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", link)
	var r ready
	if line, err := said.ReadBytes('\n'); err != nil || json.Unmarshal(line, &r) != nil {
		b.Fatalf("serve said %q: %v", line, err)
	}
	p.engine = engine
	var enrolled struct {
		DeviceID string `json:"device_id"`
	}
	code := output("borealis", "code", "new", "--data", data, "--auto-approve")
	if err := json.Unmarshal([]byte(output("borealis-agent", "enrol", "--json", "--data", mine, "--code", code)), &enrolled); err != nil {
		b.Fatal(err)
	}
	p.agent, _ = start("borealis-agent", "run", "--data", mine, "--shell", "/bin/sh")
	p.client = newClient(b, r.URL, output("borealis", "token", "new", "--operator", "admin", "--data", data))
	p.client.device = enrolled.DeviceID
	var d struct{ Online bool }
	for tick := time.NewTicker(10 * time.Millisecond); !d.Online; <-tick.C {
		p.client.do(b.Context(), http.MethodGet, "/api/devices/"+enrolled.DeviceID, nil, &d)
	}
	return p
}

// connects measures the time from the request to the state up, which is asked for
// every half millisecond.
func (p *pair) connects(ctx context.Context, n int) []figure {
	var took []time.Duration
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for range n {
		start := time.Now()
		p.client.connect(ctx)
		for {
			<-tick.C
			st := p.client.status(ctx)
			if st.State == "ended" {
				p.b.Fatalf("the tunnel ended: %+v", st)
			}
			if st.Up {
				break
			}
		}
		took = append(took, time.Since(start))
		p.client.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+p.client.device, nil, nil)
	}
	return []figure{{"connect → up, p50 / p99 / max of " + strconv.Itoa(n), quantiles(took, 0.5, 0.99, 1)}}
}

// prompts measures the time from opening a terminal to the shell's first output; it
// includes the start of the shell.
func (p *pair) prompts(ctx context.Context, n int) figure {
	var took []time.Duration
	for range n {
		start := time.Now()
		w := p.client.terminal(ctx, "", -1)
		for w.text.Len() == 0 {
			w.next(ctx)
		}
		took = append(took, time.Since(start))
		w.typed(ctx, "exit\r")
		w.control(ctx, "exit")
		w.conn.CloseNow()
	}
	return figure{"open terminal → first output, with the shell's start, p50 / p95 of " + strconv.Itoa(n), quantiles(took, 0.5, 0.95)}
}

// echo measures from sending a key to the arrival of its echo.
func (p *pair) echo(ctx context.Context, n int) figure {
	w := p.client.terminal(ctx, "", -1)
	defer w.conn.CloseNow()
	w.typed(ctx, "stty -icanon; echo re\"ady\"; cat >/dev/null\r")
	w.expect(ctx, "ready\r\n")
	var took []time.Duration
	for i := range n + 100 {
		want := w.offset + 1
		start := time.Now()
		w.typed(ctx, "x")
		for w.offset < want {
			w.next(ctx)
		}
		if i >= 100 { // the first ones warm up
			took = append(took, time.Since(start))
		}
	}
	return figure{"key → echo, WebSocket client, p50 / p99 of " + strconv.Itoa(n), quantiles(took, 0.5, 0.99)}
}

// throughput measures how fast output reaches a client that acknowledges it.
func (p *pair) throughput(ctx context.Context, n int64) figure {
	w := p.client.terminal(ctx, "", -1)
	defer w.conn.CloseNow()
	w.typed(ctx, fmt.Sprintf("stty -opost; echo re\"ady\"; head -c %d /dev/zero | tr '\\0' x; sleep 1000\r", n))
	w.expect(ctx, "ready\n")
	from, start := w.offset, time.Now()
	acked := w.offset
	for w.offset-from < n {
		kind, data, err := w.conn.Read(ctx)
		if err != nil {
			p.b.Fatal(err)
		}
		if kind != websocket.MessageBinary {
			continue
		}
		if w.offset += int64(len(data)); w.offset-acked >= 32<<10 {
			acked = w.offset
			w.send(ctx, map[string]any{"type": "ack", "offset": acked})
		}
	}
	return figure{"terminal output, agent → client", fmt.Sprintf("%.0f MB/s", float64(w.offset-from)/1e6/time.Since(start).Seconds())}
}

// interrupt measures from Ctrl-C in the middle of a flood to the next prompt.
func (p *pair) interrupt(ctx context.Context, n int) figure {
	w := p.client.terminal(ctx, "", -1)
	defer w.conn.CloseNow()
	var took []time.Duration
	for i := range n {
		done := fmt.Sprintf("done-%d-", i)
		w.text.Reset()
		w.typed(ctx, fmt.Sprintf("yes; echo do\"ne-%d-\"\r", i))
		for from := w.offset; w.offset-from < 4<<20; {
			w.next(ctx)
		}
		start := time.Now()
		w.typed(ctx, "\x03")
		w.typed(ctx, fmt.Sprintf("echo do\"ne-%d-\"\r", i))
		w.text.Reset()
		w.expect(ctx, done)
		took = append(took, time.Since(start))
	}
	return figure{"Ctrl-C under a flood → next prompt, p50 / p95 of " + strconv.Itoa(n), quantiles(took, 0.5, 0.95)}
}

func quantiles(took []time.Duration, at ...float64) string {
	slices.Sort(took)
	var all []string
	for _, q := range at {
		d := took[min(len(took)-1, int(float64(len(took))*q))]
		all = append(all, fmt.Sprintf("%.2f", float64(d.Microseconds())/1000))
	}
	return strings.Join(all, " / ") + " ms"
}

// rss is the resident memory of a process in MiB.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// report adds a table to the page of benchmarks.
func report(b *testing.B, title string, figures []figure) {
	var page bytes.Buffer
	fmt.Fprintf(&page, "\n## %s\n\n%d cores, %s %s/%s.\n\n| What | Result |\n|---|---|\n",
		title, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, f := range figures {
		b.Logf("%-80s %s", f.what, f.value)
		fmt.Fprintf(&page, "| %s | %s |\n", f.what, f.value)
	}
	path := os.Getenv("BOREALIS_BENCHMARKS")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.Write(page.Bytes())
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		b.Fatal(err)
	}
}
