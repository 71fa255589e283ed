package tunnel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

func TestAgentsKnowATokenKeyBeforeItSigns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	later := time.Now().Add(keys.TokenAge)
	if r.renewTokenKey(t.Context(), later.Add(-time.Minute)) {
		t.Error("a young key was replaced")
	}
	before, _ := r.keys.TokenSigner()
	if !r.renewTokenKey(t.Context(), later) {
		t.Fatal("an old key was not replaced")
	}
	after, _ := r.keys.TokenSigner()
	r.up(t, h, holder("nora"))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.keys) != 1 || len(h.keys[0].TokenKeys) != 2 || h.keys[0].TokenKeys[0].ID != after || h.keys[0].TokenKeys[1].ID != before || after == before {
		t.Errorf("the agent was told %+v before its tunnel", h.keys)
	}
	for _, k := range h.keys[0].TokenKeys {
		if err := k.Check(r.keys.Identity.Public()); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenFromBeforeARotationStillCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) {
		h.token = func(offered string) string { // While the agent makes its end ready,
			if !r.renewTokenKey(t.Context(), time.Now().Add(keys.TokenAge)) {
				t.Error("the key was not replaced")
			}
			return offered
		}
	})
	r.up(t, h, holder("nora"))
}

func TestWelcomeOfEachIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box := seal.New([32]byte{1})
	if _, err := keys.OpenEngine(dir, nil, box); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys.RotateIdentity(dir, box, time.Now()); err != nil {
		t.Fatal(err)
	}
	k, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.Keys = k })
	r.keys = k
	for name, identity := range map[string]*keys.Identity{"newest": k.Identity, "previous": k.Previous} {
		d, id := r.device(t, "PC-"+name)
		h := &host{t: t, rig: r, device: d, identity: id, shown: identity}
		h.online("")
		t.Cleanup(h.offline)
		r.up(t, h, holder("nora")) // Its token names the identity that the agent sees.
		h.mu.Lock()
		w := h.welcome
		h.mu.Unlock()
		for _, one := range w.TokenKeys {
			if err := one.Check(identity.Public()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if identity == k.Identity {
			if w.NextIdentity != nil {
				t.Errorf("%s: %+v is announced", name, w.NextIdentity)
			}
			continue
		}
		if pin, err := w.NextIdentity.Check(identity.Public()); err != nil || pin != k.Identity.Pin() {
			t.Errorf("%s: announced is %v, %v", name, pin, err)
		}
	}
}

func TestTokenKeyIsLookedAtEveryDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, err := keys.OpenEngine(t.TempDir(), nil, seal.New([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		m := &Manager{config: Config{Keys: k}.filled(), devices: make(map[string]*device)}
		m.log = m.config.Logger
		c := &Channel{manager: m, device: store.Device{ID: "d"}, identity: k.Identity, outgoing: make(chan wire.FromEngine, outgoingBuffer), over: make(chan struct{})}
		m.deviceLocked("d").channel = c
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.keepTokenKey(ctx) }()
		old, _ := k.TokenSigner()

		time.Sleep(keys.TokenAge - time.Minute)
		synctest.Wait()
		if id, _ := k.TokenSigner(); id != old || len(c.outgoing) != 0 {
			t.Errorf("%s signs and %d messages wait", id, len(c.outgoing))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		fresh, _ := k.TokenSigner()
		if m := <-c.outgoing; fresh == old || m.Keys == nil || len(m.Keys.TokenKeys) != 2 || m.Keys.TokenKeys[0].ID != fresh {
			t.Errorf("%s signs, announced is %+v", fresh, m.Keys)
		}
		time.Sleep(keys.TokenOverlap)
		synctest.Wait()
		if m := <-c.outgoing; len(m.Keys.TokenKeys) != 1 || m.Keys.TokenKeys[0].ID != fresh {
			t.Errorf("after the overlap announced is %+v", m.Keys)
		}
		time.Sleep(keyCheck * 10)
		synctest.Wait()
		if len(c.outgoing) != 0 {
			t.Errorf("%d messages wait", len(c.outgoing))
		}
		cancel()
		<-done
	})
}
