package tunnel

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
	"borealis/store"
)

// described waits until the manager has an inventory of a device that is not the one before.
func (r *rig) described(t *testing.T, id string, before wire.Inventory) (i wire.Inventory) {
	t.Helper()
	r.until(t, func() bool {
		var at time.Time
		var err error
		if i, at, err = r.Inventory(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return !at.IsZero() && !cmp.Equal(i, before)
	})
	return i
}

func say(t *testing.T, c *Channel, i wire.Inventory) {
	t.Helper()
	if err := c.Receive(t.Context(), wire.FromAgent{Inventory: &i}); err != nil {
		t.Error(err)
	}
}

// TestInventory: what a device says it is made of is there from then on, also when its
// agent is gone and when the engine was started again.
func TestInventory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	if i, at, err := r.Inventory(t.Context(), h.device.ID); err != nil || !at.IsZero() || !cmp.Equal(i, wire.Inventory{}) {
		t.Errorf("before it said anything: %+v at %v, %v", i, at, err)
	}
	want := wire.Inventory{
		Edition: "Windows 11 Pro 24H2", Build: "10.0.26100.2033", CPU: `"><script>`, Cores: 8, Memory: 1 << 34, LastUser: `CORP\nora`,
		Disks:    []wire.Disk{{Name: "C:", Kind: "NTFS", Size: 1 << 40, Free: 1 << 39}},
		Adapters: []wire.Adapter{{Name: "Ethernet", MAC: "02:00:00:00:00:01", Addresses: []string{"192.0.2.5/24"}}},
		Booted:   time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC), Link: "netstack", LinkReason: "No driver.", Limits: []string{"No terminal."},
	}
	say(t, h.channel, want)
	if diff := cmp.Diff(want, r.described(t, h.device.ID, wire.Inventory{})); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	h.drop()
	say(t, h.channel, wire.Inventory{CPU: "from a connection that is over"})
	h.online("")
	other := wire.Inventory{CPU: "another"}
	say(t, h.channel, other)
	if diff := cmp.Diff(other, r.described(t, h.device.ID, want)); diff != "" {
		t.Errorf("after it came back (-want +got):\n%s", diff)
	}
	r.Close()
	say(t, h.channel, wire.Inventory{CPU: "while the engine stops"})
	again, err := Open(t.Context(), r.config)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if i, at, err := again.Inventory(t.Context(), h.device.ID); err != nil || at.IsZero() || !cmp.Equal(i, other) {
		t.Errorf("after a restart: %+v at %v, %v", i, at, err)
	}
}

// TestInventoriesAreFewWrites: an agent that says it all the time costs a write now and
// then, and its last word is what stays.
func TestInventoriesAreFewWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), dir+"/borealis.db")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r := &rig{Manager: &Manager{config: Config{Store: db}.filled(), devices: map[string]*device{}}, store: db}
		d, _ := r.device(t, "PC")
		c := &Channel{manager: r.Manager, device: d, outgoing: make(chan wire.FromEngine), over: make(chan struct{})}
		r.devices[d.ID] = &device{channel: c}
		events, stop := r.Watch()
		defer stop()
		began := time.Now()
		for n := range 100 {
			say(t, c, wire.Inventory{CPU: fmt.Sprint(n)})
			<-time.After(time.Second)
		}
		synctest.Wait()
		if n, most := len(events), inventoryBurst+100/int(inventoryPause/time.Second); n < most-1 || n > most {
			t.Errorf("%d writes in %v", n, time.Since(began))
		}
		<-time.After((inventoryBurst + 1) * inventoryPause)
		synctest.Wait()
		if i, _, err := r.Inventory(t.Context(), d.ID); err != nil || i.CPU != "99" {
			t.Errorf("the last word is %q: %v", i.CPU, err)
		}
		if c.storing {
			t.Error("it still waits for more")
		}
		for n := range 5 { // After a pause nothing has to wait: what the owner decides, and takes back.
			say(t, c, wire.Inventory{CPU: "at once", Cores: n})
			synctest.Wait()
			if i, _, err := r.Inventory(t.Context(), d.ID); err != nil || i.CPU != "at once" || i.Cores != n {
				t.Errorf("after the pause, %d: %+v: %v", n, i, err)
			}
		}
		r.devices[d.ID].channel = new(Channel) // A newer connection took over.
		say(t, c, wire.Inventory{CPU: "old news"})
		<-time.After((inventoryBurst + 1) * inventoryPause)
		synctest.Wait()
		if i, _, err := r.Inventory(t.Context(), d.ID); err != nil || i.CPU != "at once" {
			t.Errorf("of the older connection: %q: %v", i.CPU, err)
		}
		r.devices[d.ID].channel = c
		for range inventoryBurst + 1 {
			say(t, c, wire.Inventory{CPU: "too late"})
			synctest.Wait()
		}
		over := time.Now()
		c.shut()
		r.work.Wait() // Nobody waits for the turn of a connection that is over.
		if took := time.Since(over); took != 0 || c.inventory == nil {
			t.Errorf("it ends after %v, and %+v waits", took, c.inventory)
		}
	})
}
