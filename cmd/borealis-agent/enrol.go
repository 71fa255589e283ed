package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"borealis/agent"
)

// enrol makes this device known to an engine.
func enrol(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("enrol", stderr)
	data := f.String("data", defaultData(), "`DIR` of the agent's data root")
	code := f.String("code", "", "the `STRING` that the engine's console shows")
	replace := f.Bool("replace", false, "take the device away from the engine that it belongs to, with a new identity")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	if *code == "" {
		return fmt.Errorf("%w: --code is missing", errUsage)
	}
	answer, err := agent.Enrol(ctx, agent.EnrolConfig{
		Data: *data, Code: *code, Version: version(), Replace: *replace,
		Notice: func(s string) { fmt.Fprintln(stderr, "borealis-agent: note:", s) },
	})
	if err != nil {
		return err
	}
	who, err := agent.ReadFingerprint(*data)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(struct {
			DeviceID string `json:"device_id"`
			State    string `json:"state"`
			Words    string `json:"words"`
		}{answer.DeviceID, answer.State, who.Device.Words()})
	}
	_, err = fmt.Fprintf(stdout, "device  %s\nwords   %s\nstate   %s\n", answer.DeviceID, who.Device.Words(), answer.State)
	if err == nil && answer.State == "pending" {
		_, err = fmt.Fprintln(stdout, "An administrator has to approve this device in the console before it can be used.\n"+
			"Compare the words with the console first: they have to be the same.")
	}
	return err
}

// fingerprint shows who this agent and its engine are, for people to compare.
func fingerprint(args []string, stdout, stderr io.Writer) error {
	f := flags("fingerprint", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	who, err := agent.ReadFingerprint(*data)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(struct {
			Pin         string `json:"pin"`
			Words       string `json:"words"`
			EnginePin   string `json:"engine_pin"`
			EngineWords string `json:"engine_words"`
			Address     string `json:"address"`
		}{who.Device.String(), who.Device.Words(), who.Engine.String(), who.Engine.Words(), who.Address})
	}
	_, err = fmt.Fprintf(stdout, "device  %s\npin     %s\nengine  %s\npin     %s\nat      %s\n",
		who.Device.Words(), who.Device, who.Engine.Words(), who.Engine, who.Address)
	return err
}
