package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"borealis/agent"
	"borealis/agent/service"
	"borealis/agent/setup"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// installOptions are what a person says to install.
type installOptions struct {
	code, data, link          string
	replace, packaged, asJSON bool
}

// install puts the agent on this device as a service, and enrols it.
func install(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o installOptions
	f := flags("install", stderr)
	f.StringVar(&o.code, "code", "", "the `STRING` that the engine's console shows; not needed on a device that is enrolled")
	f.StringVar(&o.data, "data", "", "`DIR` of the agent's data root; empty is where the installed agent has it, or its usual place")
	f.StringVar(&o.link, "link", "", linkUsage+"; empty leaves it as it is, at first auto")
	f.BoolVar(&o.replace, "replace", false, "take the device away from the engine that it belongs to, with a new identity")
	f.BoolVar(&o.packaged, "packaged", false, "for the package of Windows Installer, which has its own entry in the list of programs")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.config(stderr)
	if err != nil {
		return err
	}
	report, err := setup.Install(ctx, c)
	if err != nil {
		return err
	}
	if o.asJSON {
		return json.NewEncoder(stdout).Encode(report)
	}
	_, err = io.WriteString(stdout, installed(report))
	return err
}

// config makes of the options what setup wants.
func (o installOptions) config(stderr io.Writer) (c setup.Config, err error) {
	if o.link != "" {
		if _, err := linkMode(o.link); err != nil {
			return c, err
		}
	}
	if o.replace && o.code == "" {
		return c, fmt.Errorf("%w: --replace needs --code", errUsage)
	}
	place, err := setup.FindPlace(o.data)
	if err != nil {
		return c, err
	}
	c = setup.Config{
		Place: place, Version: version(), Link: o.link, Packaged: o.packaged, Replace: o.replace, Log: stderr,
		Enrolled: func() (address, pin string, err error) { return engineOf(place.Data) },
		Enrol:    func(ctx context.Context) (setup.Device, error) { return enrolHere(ctx, place.Data, o.code, stderr) },
	}
	if c.Source, err = os.Executable(); err != nil {
		return c, fmt.Errorf("find the program that runs: %w", err)
	}
	if o.code != "" {
		code, err := wire.ParseCode(o.code)
		if err != nil {
			return c, fmt.Errorf("%w: copy the whole code from the console and try again", err)
		}
		c.Address, c.Pin = code.Address, code.Pin.String()
	}
	return c, nil
}

// engineOf says which engine the device belongs to.
func engineOf(data string) (address, pin string, err error) {
	who, err := agent.ReadFingerprint(data)
	if errors.Is(err, keys.ErrNotEnrolled) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	return who.Address, who.Engine.String(), nil
}

// enrolHere enrols the device. What belonged to another engine is out of the way by now.
func enrolHere(ctx context.Context, data, code string, stderr io.Writer) (setup.Device, error) {
	answer, err := agent.Enrol(ctx, agent.EnrolConfig{
		Data: data, Code: code, Version: version(),
		Notice: func(s string) { fmt.Fprintln(stderr, "borealis-agent: note:", s) },
	})
	if err != nil {
		return setup.Device{}, err
	}
	who, err := agent.ReadFingerprint(data)
	if err != nil {
		return setup.Device{}, err
	}
	return setup.Device{ID: answer.DeviceID, State: answer.State, Words: who.Device.Words()}, nil
}

// installed says for people what an installation came to.
func installed(r setup.Report) string {
	var b strings.Builder
	if r.Present {
		fmt.Fprintln(&b, "The agent is already present, and all is as it should be.")
	} else {
		fmt.Fprintln(&b, "The agent is installed and runs.")
	}
	if r.Device != nil {
		fmt.Fprintf(&b, "device   %s\nwords    %s\nstate    %s\n", r.Device.ID, r.Device.Words, r.Device.State)
	}
	fmt.Fprintf(&b, "engine   %s\nservice  %s\nprogram  %s\ndata     %s\nlog      %s\n", r.Address, r.Service, r.Program, r.Data, r.Log)
	if r.Device != nil && r.Device.State == "pending" {
		fmt.Fprintln(&b, "An administrator has to approve this device in the console before it can be used.\n"+
			"Compare the words with the console first: they have to be the same.")
	}
	return b.String()
}

// uninstall takes the agent off this device.
func uninstall(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("uninstall", stderr)
	data := f.String("data", "", "`DIR` of the agent's data root; empty is where the installed agent has it, or its usual place")
	purge := f.Bool("purge", false, "remove the device's identity, its settings and its logs too")
	packaged := f.Bool("packaged", false, "for the package of Windows Installer, which removes its own files")
	ask := f.Bool("elevate", false, "ask for administrator rights when there are none: for the list of programs")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	place, err := setup.FindPlace(*data)
	if err != nil {
		return err
	}
	if *ask && errors.Is(service.Elevated(), service.ErrNotElevated) {
		return elevate("uninstall", "--data", place.Data)
	}
	done, err := setup.Uninstall(ctx, setup.UninstallConfig{Place: place, Purge: *purge, Packaged: *packaged, Log: stderr})
	if *asJSON {
		return errors.Join(err, json.NewEncoder(stdout).Encode(done))
	}
	_, cannot := io.WriteString(stdout, uninstalled(done))
	return errors.Join(err, cannot)
}

// uninstalled says for people what an uninstallation came to.
func uninstalled(r setup.Removal) string {
	var b strings.Builder
	if len(r.Removed) == 0 {
		fmt.Fprintln(&b, "Nothing of the agent was removed.")
	}
	for i, s := range r.Removed {
		fmt.Fprintf(&b, "%-9s%s\n", []string{"removed", ""}[min(i, 1)], s)
	}
	for i, s := range r.Left {
		fmt.Fprintf(&b, "%-9s%s\n", []string{"left", ""}[min(i, 1)], s)
	}
	return b.String()
}
