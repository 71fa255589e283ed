package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
	"borealis/tunnel/keys"
)

// A deviceLine is one device in the list.
type deviceLine struct {
	ID       string     `json:"id"`
	Hostname string     `json:"hostname"`
	OS       string     `json:"os"`
	Site     string     `json:"site"`
	State    string     `json:"state"`
	Words    string     `json:"words"` // of its key, to be compared with what the agent printed
	Replaces string     `json:"replaces,omitempty"`
	LastSeen *time.Time `json:"last_seen"`
}

func (c *console) deviceList(ctx context.Context, args []string) error {
	f := c.flags("device list", "lists the devices")
	data := dataFlag(f)
	state := f.String("state", "", "only those in a `STATE`: pending, active, quarantined or revoked")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		lines, err := deviceLines(ctx, s, *state)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(struct {
				Devices []deviceLine `json:"devices"`
			}{lines})
		}
		out := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "ID\tNAME\tSITE\tSTATE\tWORDS")
		for _, d := range lines {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", d.ID, d.Hostname, d.Site, d.State, d.Words)
		}
		return out.Flush()
	})
}

// deviceLines reads all devices, page by page.
func deviceLines(ctx context.Context, s *store.Store, state string) ([]deviceLine, error) {
	lines := []deviceLine{}
	for {
		page, total, err := s.Devices(ctx, store.DeviceQuery{
			Scope: store.Scope{All: true}, State: state, Limit: store.MaxPage, Offset: len(lines),
		})
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			line := deviceLine{ID: d.ID, Hostname: d.Hostname, OS: d.OS, Site: d.Site, State: d.State, Replaces: d.Replaces}
			if pin, err := keys.ParsePin(d.Pin); err == nil {
				line.Words = pin.Words()
			}
			if !d.LastSeen.IsZero() {
				line.LastSeen = &d.LastSeen
			}
			lines = append(lines, line)
		}
		if len(page) == 0 || len(lines) >= total {
			return lines, nil
		}
	}
}

func (c *console) deviceApprove(ctx context.Context, args []string) error {
	var replace, keep *bool
	return c.onDevice(ctx, args, "device approve ID", "lets a device have tunnels; compare its words with what the agent printed first",
		func(f *flag.FlagSet) {
			replace = f.Bool("replace", false, "revoke the device that was known on the same machine")
			keep = f.Bool("keep-both", false, "keep the device that was known on the same machine as well")
		},
		func(s *store.Store, d store.Device) error {
			var decision store.Decision
			switch {
			case *replace && *keep:
				return hint.Usage("--replace and --keep-both exclude each other")
			case *replace:
				decision = store.Replace
			case *keep:
				decision = store.KeepBoth
			}
			err := s.ApproveDevice(ctx, d.ID, decision, engine.LocalRecord())
			if errors.Is(err, store.ErrConflict) {
				return fmt.Errorf("the device is %s: only one that waits or is quarantined can be approved", d.State)
			}
			return err
		})
}

func (c *console) deviceDeny(ctx context.Context, args []string) error {
	return c.onDevice(ctx, args, "device deny ID", "turns a waiting device away", nil, func(s *store.Store, d store.Device) error {
		err := s.DenyDevice(ctx, d.ID, engine.LocalRecord())
		if errors.Is(err, store.ErrConflict) {
			return &hint.Error{Err: fmt.Errorf("the device is %s, not waiting", d.State), Hint: "use \"borealis device revoke\" to end the trust in it"}
		}
		return err
	})
}

func (c *console) deviceQuarantine(ctx context.Context, args []string) error {
	return c.deviceState(ctx, args, "device quarantine ID", "sets a device aside until somebody decides", store.Quarantined)
}

func (c *console) deviceRevoke(ctx context.Context, args []string) error {
	return c.deviceState(ctx, args, "device revoke ID", "ends the trust in a device for good", store.Revoked)
}

func (c *console) deviceState(ctx context.Context, args []string, name, about, state string) error {
	var reason *string
	return c.onDevice(ctx, args, name, about,
		func(f *flag.FlagSet) { reason = f.String("reason", "", "`TEXT` that says why") },
		func(s *store.Store, d store.Device) error {
			if d.State == store.Revoked {
				return &hint.Error{Err: errors.New("the device is revoked, and stays so"), Hint: "its agent has to be enrolled again with a new key"}
			}
			did := engine.LocalRecord()
			did.Reason = *reason
			return s.SetDeviceState(ctx, d.ID, state, time.Now(), did)
		})
}

func (c *console) deviceLock(ctx context.Context, args []string) error {
	var l *lockFlags
	return c.onDevice(ctx, args, "device lock ID", "ends the tunnel of a device and allows no other",
		func(f *flag.FlagSet) { l = lockOptions(f) },
		func(s *store.Store, d store.Device) error {
			return c.setLock(ctx, s, l.lock(store.LockDevice, d.ID, d.Hostname))
		})
}

func (c *console) deviceUnlock(ctx context.Context, args []string) error {
	return c.onDevice(ctx, args, "device unlock ID", "lets a device have tunnels again", nil, func(s *store.Store, d store.Device) error {
		return c.liftLock(ctx, s, store.LockDevice, d.ID, d.Hostname)
	})
}

// onDevice does something about one device; more adds flags and may be nil.
func (c *console) onDevice(ctx context.Context, args []string, name, about string, more func(*flag.FlagSet), do func(*store.Store, store.Device) error) error {
	f := c.flags(name, about)
	data := dataFlag(f)
	if more != nil {
		more(f)
	}
	named, err := c.parse(f, args, "ID")
	if err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		d, err := deviceNamed(ctx, s, named[0])
		if err != nil {
			return err
		}
		return explained(do(s, d))
	})
}

func (c *console) siteLock(ctx context.Context, args []string) error {
	f := c.flags("site lock NAME", "ends the tunnels of a site's devices and allows no other")
	data, l := dataFlag(f), lockOptions(f)
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		return c.setLock(ctx, s, l.lock(store.LockSite, named[0], named[0]))
	})
}

func (c *console) siteUnlock(ctx context.Context, args []string) error {
	f := c.flags("site unlock NAME", "lets a site's devices have tunnels again")
	data := dataFlag(f)
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		return c.liftLock(ctx, s, store.LockSite, named[0], named[0])
	})
}
