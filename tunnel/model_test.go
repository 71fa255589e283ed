package tunnel

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"borealis/store"
)

// TestModel puts a manager through random sequences of what operators, agents, administrators,
// timers and bad luck can do, and compares it after each step with a small model of what it must
// be like. Run more with -rapid.checks.
func TestModel(t *testing.T) { runModel(t, (*machine).actions) }

// TestModelInAStorm is TestModel with things that come at the same time, so that a sequence that
// failed may not fail again. There are a quarter as many.
func TestModelInAStorm(t *testing.T) {
	fewerChecks(t, 4)
	runModel(t, (*machine).stormyActions)
}

func runModel(t *testing.T, actions func(*machine) map[string]func(*rapid.T)) {
	t.Helper()
	averageSteps(t, 20)
	k := modelKeys(t)
	var w *world
	defer func() {
		if w != nil {
			if err := w.close(); err != nil {
				t.Error(err)
			}
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		if w != nil && w.used == worldSequences {
			used := w
			w = nil
			if err := used.close(); err != nil {
				rt.Fatal(err)
			}
		}
		if w == nil {
			w = newWorld(t, k)
		}
		w.used++
		passed := false
		defer func() {
			if !passed { // the next sequence begins with nothing of this one
				w.discard()
				w = nil
			}
		}()
		m := newMachine(rt, w)
		rt.Repeat(actions(m))
		m.finish(rt)
		passed = true
	})
}

// fewerChecks divides the number of sequences of a test.
func fewerChecks(t *testing.T, by int) {
	t.Helper()
	before := flag.Lookup("rapid.checks").Value.String()
	n, err := strconv.Atoi(before)
	if err == nil {
		err = flag.Set("rapid.checks", strconv.Itoa(max(n/by, 1)))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", before) })
}

// averageSteps is how long sequences are when nobody says so on the command line.
func averageSteps(t *testing.T, steps int) {
	t.Helper()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "rapid.steps" })
	if said {
		return
	}
	before := flag.Lookup("rapid.steps").Value.String()
	t.Cleanup(func() { _ = flag.Set("rapid.steps", before) })
	if err := flag.Set("rapid.steps", strconv.Itoa(steps)); err != nil {
		t.Fatal(err)
	}
}

// A machine is one sequence: devices, who uses them, and what the reference says of them.
type machine struct {
	w      *world
	site   string
	agents []*modelAgent
	ref    reference
}

func newMachine(t *rapid.T, w *world) *machine {
	m := &machine{w: w, site: "site-" + fmt.Sprint(w.used)}
	var err error
	if m.agents, err = w.enrol(m.site, 2); err != nil {
		t.Fatal(err)
	}
	for _, a := range m.agents {
		if err := a.online(""); err != nil {
			t.Fatal(err)
		}
		m.ref.devices = append(m.ref.devices, &refDevice{state: store.Active, online: true})
	}
	return m
}

// actions are what can happen. Some are there more than once, for they lead to the rest.
func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                  m.check,
		"connect":           m.connect,
		"connect again":     m.connect,
		"connect once more": m.connect,
		"connect at once":   m.connectAtOnce,
		"ready":             m.ready,
		"ready again":       m.readyAgain,
		"wrong token":       m.wrongToken,
		"refuse":            m.refuse,
		"handshake":         m.handshake,
		"no answer":         m.stepTimeout,
		"no handshake yet":  m.hint,
		"toggle":            m.toggle,
		"disconnect":        m.disconnect,
		"tab closed":        m.tabClosed,
		"idle":              m.idle,
		"too long":          m.tooLong,
		"agent crashes":     m.agentCrashes,
		"agent returns":     m.agentReturns,
		"agent stops":       m.agentStops,
		"agent stays away":  m.agentStaysAway,
		"state":             m.deviceState,
		"lock":              m.lock,
		"evict":             m.evict,
		"flush":             m.flush,
		"trail":             m.trail,
		"orphans":           m.orphans,
		"restart":           m.restart,
	}
}

// stormyActions are actions of which several come at once.
func (m *machine) stormyActions() map[string]func(*rapid.T) {
	all := m.actions()
	all["race of ends"], all["storm"], all["another storm"] = m.raceOfEnds, m.storm, m.storm
	return all
}

// people are who may connect, from where.
func (m *machine) holder(t *rapid.T) Holder {
	h := holder(rapid.SampledFrom([]string{"nora", "jon", "ada"}).Draw(t, "operator"))
	if rapid.Bool().Draw(t, "in a tab") {
		h.Tab = h.Operator + " at " + m.site
	}
	return h
}

// pick draws a device for which ok holds, and gives the action up when there is none.
func (m *machine) pick(t *rapid.T, ok func(*refDevice) bool) (*modelAgent, *refDevice) {
	var at []int
	for i, d := range m.ref.devices {
		if ok(d) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		t.Skip("no such device")
	}
	i := rapid.SampledFrom(at).Draw(t, "device")
	return m.agents[i], m.ref.devices[i]
}

func anyDevice(*refDevice) bool { return true }

func hasTunnel(d *refDevice) bool { return d.tunnel != nil }

func in(states ...State) func(*refDevice) bool {
	return func(d *refDevice) bool { return d.tunnel != nil && slices.Contains(states, d.tunnel.state) }
}

// must ends the sequence on an error.
func must(t *rapid.T, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// finish ends what is left, and checks what is on record of each tunnel.
func (m *machine) finish(t *rapid.T) {
	if m.ref.broken {
		m.trail(t)
	}
	if m.ref.lost {
		m.flush(t)
	}
	for i, d := range m.ref.devices {
		a := m.agents[i]
		if d.tunnel != nil {
			by := d.tunnel.anyHolder()
			_, err := m.w.manager.Disconnect(context.Background(), d.tunnel.id, by, true)
			must(t, "disconnect", err)
			d.end(by.Operator, OperatorForceStop)
		}
		if d.online {
			a.leave()
			d.online = false
		}
		a.crash()
	}
	m.check(t)
	must(t, "settle", m.w.awaits("everything is recorded", m.w.settled))
	for _, d := range m.ref.devices {
		for _, past := range d.past {
			m.checkEnded(t, past)
		}
	}
	m.w.manager.compareSessions(context.Background(), time.Now().Add(time.Hour)) // finds nothing, as the next check says
}
