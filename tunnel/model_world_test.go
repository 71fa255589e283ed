package tunnel

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/wg"
)

const (
	worldSequences = 200              // that share one engine
	patience       = 20 * time.Second // for what must come; only a failure waits for so long
)

// A world is an engine that many sequences share, each with devices of its own: a real store, a
// real WireGuard interface, and a manager whose steps last until a sequence lets their time be
// over.
type world struct {
	t       testing.TB
	dir     string
	keys    *keys.Engine
	change  []func(*Config)
	store   *store.Store
	manager *Manager
	conn    *sqlite.Conn // a saboteur's
	used    int          // sequences so far
	leased  map[string]string
	before  goleak.Option

	mu    sync.Mutex
	limit map[string]map[time.Duration]func() // of steps under way, by tunnel
	news  chan struct{}                       // closed and replaced when one is added
}

// newWorld opens an engine. The keys are made once for all of a test.
func newWorld(t testing.TB, k *keys.Engine, change ...func(*Config)) *world {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	w := &world{t: t, keys: k, change: change, leased: make(map[string]string), before: goleak.IgnoreCurrent()}
	w.limit, w.news = make(map[string]map[time.Duration]func()), make(chan struct{})
	var err error
	if w.dir, err = os.MkdirTemp(base, "borealis-model-"); err != nil {
		t.Fatal(err)
	}
	w.openStore()
	if w.conn, err = sqlite.OpenConn(w.dir+"/borealis.db", sqlite.OpenReadWrite); err != nil {
		t.Fatal(err)
	}
	w.conn.SetBusyTimeout(patience)
	if err := w.spoilable(); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

// modelKeys are an engine's keys.
func modelKeys(t testing.TB) *keys.Engine {
	t.Helper()
	k, err := keys.OpenEngine(t.TempDir(), []string{"localhost"}, seal.New([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) openStore() {
	s, err := store.Open(context.Background(), w.dir+"/borealis.db")
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
}

func (w *world) open() {
	c := Config{
		Store: w.store, Keys: w.keys, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}, PublicEndpoint: "127.0.0.1",
		rewrite: 2 * time.Millisecond, after: w.after,
	}
	for _, f := range w.change {
		f(&c)
	}
	m, err := Open(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.manager = m
}

// restart stops the engine and starts another one on the same store.
func (w *world) restart() {
	w.manager.Close()
	w.open()
}

// kill makes the engine end without writing anything down, and starts another one.
func (w *world) kill() {
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.manager.Close()
	w.openStore()
	w.open()
}

// close ends the engine and checks what it leaves: a trail that verifies, and nothing that runs.
func (w *world) close() error {
	defer os.RemoveAll(w.dir)
	w.manager.Close()
	report, err := audit.VerifyStore(context.Background(), w.store, nil, audit.Options{})
	if err == nil && !report.OK() {
		err = report.Fault
	}
	if err == nil {
		err = w.store.Check(context.Background())
	}
	return cmp.Or(err, w.conn.Close(), w.store.Close(), goleak.Find(w.before))
}

// discard takes a world away in which something failed.
func (w *world) discard() {
	w.manager.Close()
	w.conn.Close()
	w.store.Close()
	os.RemoveAll(w.dir)
}

// after is the manager's timer: a step's time is over when a sequence says so.
func (w *world) after(tunnel string, long time.Duration, call func()) (stop func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit[tunnel] == nil {
		w.limit[tunnel] = make(map[time.Duration]func())
	}
	w.limit[tunnel][long] = call
	close(w.news)
	w.news = make(chan struct{})
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.limit[tunnel], long)
		close(w.news)
		w.news = make(chan struct{})
		if len(w.limit[tunnel]) == 0 {
			delete(w.limit, tunnel)
		}
		return true
	}
}

// expire lets the time of a tunnel's step be over, once it has begun.
func (w *world) expire(tunnel string, long time.Duration) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		call, news := w.limit[tunnel][long], w.news
		w.mu.Unlock()
		if call != nil {
			call()
			return nil
		}
		select {
		case <-news:
		case <-limit.C:
			return fmt.Errorf("nothing of tunnel %s waits for %s", tunnel, long)
		}
	}
}

// enrol makes the devices of a sequence.
func (w *world) enrol(site string, n int) ([]*modelAgent, error) {
	ctx, now := context.Background(), time.Now()
	var code [32]byte
	if _, err := rand.Read(code[:]); err != nil {
		return nil, err
	}
	c := store.Code{Uses: n, AutoApprove: true, Site: site, CreatedBy: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	if _, err := w.store.AddCode(ctx, code, c, store.Record{}); err != nil {
		return nil, err
	}
	agents := make([]*modelAgent, n)
	for i := range agents {
		a := &modelAgent{world: w, news: make(chan struct{}), stopped: make(map[string]bool)}
		if _, err := rand.Read(a.pin[:]); err != nil {
			return nil, err
		}
		var err error
		a.device, err = w.store.RedeemCode(ctx, code, store.Device{Hostname: "PC", OS: "linux", Pin: a.pin.String()}, now, store.Record{})
		if err != nil {
			return nil, err
		}
		if _, err := w.store.SetOverrides(ctx, a.device.ID, 0, rows(nothingOpen())); err != nil {
			return nil, err
		}
		agents[i] = a
	}
	return agents, nil
}

// nothingOpen closes what is open by default: without a shell a handshake makes a tunnel.
func nothingOpen() []acl.Override {
	var all []acl.Override
	for _, p := range acl.Defaults("linux") {
		if o := (acl.Override{Service: p.Service, By: "test"}); !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}

// spoilable makes a switch that makes the audit trail unwritable. The statements that the store
// has prepared stay good when it is used.
func (w *world) spoilable() error {
	err := w.do("CREATE TABLE spoilt (why TEXT)")
	if err == nil {
		err = w.do("CREATE TRIGGER spoil BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM spoilt) BEGIN SELECT raise(ABORT, 'no room on the disk'); END")
	}
	return err
}

func (w *world) spoil() error { return w.do("INSERT INTO spoilt VALUES ('by a sequence')") }

func (w *world) mend() error { return w.do("DELETE FROM spoilt") }

func (w *world) do(statement string) error { return sqlitex.ExecuteTransient(w.conn, statement, nil) }

// awaits waits until ok, which changes when a device does.
func (w *world) awaits(what string, ok func() bool) error {
	events, stop := w.manager.Watch()
	defer stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-events:
		case <-limit.C:
			return fmt.Errorf("it never happened that %s", what)
		}
	}
	return nil
}

func (w *world) settled() bool {
	w.manager.recorder.mu.Lock()
	defer w.manager.recorder.mu.Unlock()
	return len(w.manager.recorder.queue) == 0 && w.manager.recorder.cause == nil
}

// back waits until a tunnel whose agent came back does not wait for it any more.
func (w *world) back(tunnel string) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		waits, news := w.limit[tunnel][wire.ChannelGrace] != nil, w.news
		w.mu.Unlock()
		if !waits {
			return nil
		}
		select {
		case <-news:
		case <-limit.C:
			return fmt.Errorf("tunnel %s waits for its agent, which is there", tunnel)
		}
	}
}
