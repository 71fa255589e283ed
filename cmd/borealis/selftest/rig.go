package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/borealis/support"
	"borealis/cmd/hint"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/wg"
)

const (
	administrator = "admin"     // who is one in the engine that is tested
	linkName      = "borealis0" // of its WireGuard interface
)

// A matrix is a self-test that runs: an engine, agents, and what is known so far.
type matrix struct {
	Config

	link   wg.Mode // TUN or Netstack
	dir    string  // everything that it writes is in here
	result Report
	kept   keptAnswers

	root     engine.Root
	password string
	log      *slog.Logger
	logFile  io.Closer
	engine   *engine.Engine
	release  func()     // lets go of the data root
	started  bool       // once, with clients
	udp      int        // that the engine has
	web      *webClient // of an administrator's API token
	second   *webClient // of another operator's
	browser  *webClient // of an administrator's session
	relay    *relay     // between agents and engine

	a, b  *rigAgent
	rogue *rogue // what an agent must not be able to do
	shell *webTerminal
	live  tunnelView // the tunnel of a that functional checks use

	custom  *countingServer // a server behind a port of a that is open
	closed  *countingServer // and behind the next port, which is not
	secrets map[string][]byte
}

// test runs the whole matrix on a link and cleans up. The reason is why it is on that one.
func test(ctx context.Context, config Config, link wg.Mode, reason string) (_ *Report, err error) {
	r := Report{Version: engine.Version(), Host: support.ThisHost(), Link: string(link), Reason: reason, Began: time.Now().UTC()}
	if link == wg.TUN {
		if err := furnish(); err != nil {
			r.Reason = err.Error() // without a check: nothing was tried
			return &r, nil
		}
		config.UDPPort = 30000
	}
	dir, err := os.MkdirTemp("", "borealis-selftest-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the self-test: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &matrix{Config: config, link: link, dir: dir, root: engine.Root(filepath.Join(dir, "engine")), result: r, secrets: make(map[string][]byte)}
	defer m.close()
	m.say("Borealis %s tests itself on %s: %s.\n", r.Version, r.Link, r.Reason)
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the self-test took longer than %s", limit))
	defer cancel()
	for _, item := range matrixItems() {
		if c, tried := m.try(limited, item); ctx.Err() != nil {
			return nil, context.Cause(ctx) // whoever pressed Ctrl-C wants no more to read
		} else if tried {
			m.tell(c)
		}
	}
	m.result.Took = milliseconds(time.Since(r.Began))
	m.result.OK = m.result.Failed() == 0
	if config.Report != "" {
		if err := m.writeReport(limited); err != nil {
			return nil, err
		}
	}
	return &m.result, nil
}

// A matrixItem is one check of the matrix. Its function returns what it saw.
type matrixItem struct {
	group, name string
	only        wg.Mode // "" means on every link
	hint        string  // what to do when it fails
	run         func(*matrix, context.Context) (string, error)
}

// try makes a check, unless it is for another link.
func (m *matrix) try(ctx context.Context, item matrixItem) (c Check, tried bool) {
	if item.only != "" && item.only != m.link {
		return c, false
	}
	began := time.Now()
	c = Check{Group: item.group, Name: item.name}
	detail, err := m.attempt(ctx, item)
	c.Took = milliseconds(time.Since(began))
	if c.OK, c.Detail = err == nil, detail; err != nil {
		c.Detail, c.Hint = err.Error(), item.hint
		if h, ok := errors.AsType[*hint.Error](err); ok {
			c.Hint = h.Hint
		}
	}
	return c, true
}

// tell keeps and shows what came of a check.
func (m *matrix) tell(c Check) {
	m.result.Checks = append(m.result.Checks, c)
	word := "ok  "
	if !c.OK {
		word = "FAIL"
	}
	m.say("%s %-10s %-46s %7.0f ms  %s\n", word, c.Group, c.Name, c.Took, c.Detail)
	if c.Hint != "" {
		m.say("     → %s\n", c.Hint)
	}
}

func (m *matrix) attempt(ctx context.Context, item matrixItem) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("not tried: %w", context.Cause(ctx))
	}
	if (m.engine == nil || !m.started) && item.name != firstItem {
		return "", &hint.Error{Err: errors.New("not tried: the engine does not run"), Hint: "mend what the check before it says"}
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	return item.run(m, ctx)
}

func (m *matrix) say(format string, args ...any) {
	if !m.Quiet {
		fmt.Fprintf(m.Stderr, format, args...)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// start makes the data root when there is none, and an engine on it. Agents that ran find it.
func (m *matrix) start(ctx context.Context, idle time.Duration, listen string, udpPort int) error {
	if m.log == nil {
		log, file, err := engine.OpenLog(m.root.Log(), slog.LevelDebug, slog.DiscardHandler)
		if err != nil {
			return err
		}
		m.log, m.logFile = log, file
	}
	if m.password == "" {
		password, err := engine.Init(ctx, m.root, administrator, engine.Seal{})
		if err != nil {
			return err
		}
		m.password = password
	}
	release, err := m.root.Hold(ctx)
	if err != nil {
		return err
	}
	e, err := engine.Start(ctx, engine.Config{
		Data: m.root, Listen: listen, UDPPort: udpPort, Link: m.link, LinkName: linkName,
		Pool: netip.MustParsePrefix("10.255.0.0/16"), Idle: idle, StepUp: "never", Logger: m.log,
	})
	if err != nil {
		release()
		return err
	}
	m.engine, m.release = e, release
	l := e.Manager.Link() // which was tried once
	if l.Err != nil {
		return fmt.Errorf("no tunnels are possible: %w", l.Err)
	}
	m.udp = l.Port
	return nil
}

// stop ends the engine.
func (m *matrix) stop() {
	if m.engine != nil {
		m.engine.Close()
		m.release()
		m.engine = nil
	}
}

// clients makes the clients of the engine that runs.
func (m *matrix) clients(ctx context.Context) error {
	if _, err := engine.AddOperator(ctx, m.engine.Store, store.Operator{Name: "second", Role: access.Operator}); err != nil {
		return err
	}
	for name, to := range map[string]**webClient{administrator: &m.web, "second": &m.second} {
		token, err := engine.AddToken(ctx, m.engine.Store, name, "selftest", time.Hour)
		if err != nil {
			return err
		}
		m.secrets["API token of "+name] = []byte(token)
		if *to, err = newWebClient(m.base(), token, m.engine.Keys.Web, &m.kept); err != nil {
			return err
		}
	}
	var err error
	if m.browser, err = newWebClient(m.base(), "", m.engine.Keys.Web, &m.kept); err != nil {
		return err
	}
	m.secrets["password"] = []byte(m.password)
	return m.browser.signIn(ctx, administrator, m.password)
}

// base is where the console is on this host.
func (m *matrix) base() string { return fmt.Sprintf("https://127.0.0.1:%d", m.engine.Port()) }

// close ends everything that runs, agents first.
func (m *matrix) close() {
	if m.shell != nil {
		m.shell.conn.CloseNow()
	}
	for _, a := range []*rigAgent{m.a, m.b} {
		if a != nil {
			_ = a.close() // it was looked at before
		}
	}
	if m.rogue != nil {
		m.rogue.close()
	}
	m.stop()
	for _, s := range []*countingServer{m.custom, m.closed} {
		if s != nil {
			s.close()
		}
	}
	if m.relay != nil {
		m.relay.close()
	}
	for _, w := range []*webClient{m.web, m.second, m.browser} {
		if w != nil {
			w.close()
		}
	}
	if m.logFile != nil {
		m.logFile.Close()
	}
}
