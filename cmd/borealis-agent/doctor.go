package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"borealis/agent/checkup"
)

// errUnwell is returned when the doctor has found something to mend.
var errUnwell = errors.New("something is to be mended, see above")

// findings are all that the doctor knows. In JSON they are a contract with scripts.
type findings struct {
	OK      bool              `json:"ok"` // All checks are.
	Checks  []checkup.Finding `json:"checks"`
	Driver  driverFinding     `json:"driver"`
	Adapter struct {
		Name string `json:"name"` // Of the network adapter that tunnels use; "" without one.
	} `json:"adapter"`
	Link string `json:"link"` // What the running agent's tunnels stand on; "" when none runs.
}

// driverFinding is what is known about the WireGuardNT driver.
type driverFinding struct {
	Present bool   `json:"present"` // There is one, and it is genuine.
	Version string `json:"version"`
	Path    string `json:"path"`   // Where it is, or would be.
	Reason  string `json:"reason"` // Why it cannot be used, or "".
}

// doctor examines the agent on this device, and says what to mend.
func doctor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("doctor", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	found := examine(ctx, *data)
	var err error
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(found)
	} else {
		err = checkup.Write(stdout, found.Checks)
	}
	if err == nil && !found.OK {
		err = errUnwell
	}
	return err
}
