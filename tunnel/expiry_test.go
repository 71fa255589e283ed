package tunnel

import (
	"errors"
	"testing"
	"time"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel/wg"
)

// TestOverrideExpires ends an override in its live tunnel, by itself.
func TestOverrideExpires(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	port := echo(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	r.prove(t, h)
	open := custom(acl.TCP, port, port, true)
	open.Until = time.Now().Add(time.Second)
	r.setPorts(t, h.device.ID, open)
	c, err := r.dial(t, st.TunnelID, port)
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool {
		got, err := r.Ports(t.Context(), h.device.ID)
		return err == nil && got.Policy.Revision == 2 && len(got.Policy.Overrides) == 0 && got.Confirmed && len(h.policies()) == 2
	})
	if time.Now().Before(open.Until.Truncate(time.Millisecond)) {
		t.Error("it was too early")
	}
	if err := says(c); !errors.Is(err, acl.ErrRefused) {
		t.Errorf("the flow to the port: %v", err)
	}
	if _, err := r.dial(t, st.TunnelID, port); !errors.Is(err, acl.ErrRefused) {
		t.Errorf("a new connection: %v", err)
	}
	wantActivity(t, r, h.device.ID, "device_enrolled", "agent_online", "tunnel_requested", "tunnel_up", "ports_changed", "port_override_expired")
}

// TestOverrideExpiresWhileTheEngineIsDown removes it at the next start.
func TestOverrideExpiresWhileTheEngineIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	r.Close()
	past := store.Override{Service: "rdp", Allowed: true, Until: time.Now().Add(-time.Minute), By: "nora"}
	later := store.Override{Service: "ssh", Until: time.Now().Add(time.Hour), By: "nora"}
	if _, err := r.store.SetOverrides(t.Context(), d.ID, 0, []store.Override{past, later}); err != nil {
		t.Fatal(err)
	}
	m, err := Open(t.Context(), Config{Store: r.store, Keys: r.keys, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := m.Ports(t.Context(), d.ID)
	if err != nil || got.Policy.Revision != 2 || len(got.Policy.Overrides) != 1 || got.Policy.Overrides[0].Service != "ssh" {
		t.Errorf("%+v, %v", got.Policy, err)
	}
	wantActivity(t, r, d.ID, "device_enrolled", "ports_changed", "port_override_expired")
}
