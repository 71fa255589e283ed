package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errUnwell is returned when the doctor has found something to mend.
var errUnwell = errors.New("something is to be mended, see above")

// check is one thing that the doctor has looked at.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`     // Nothing is to be mended. What cannot be known without more rights is, too.
	Detail string `json:"detail"` // What was found.
	Hint   string `json:"hint"`   // What to do, or "".
}

// well is a check that found what it should.
func well(name, format string, args ...any) check {
	return check{Name: name, OK: true, Detail: fmt.Sprintf(format, args...)}
}

// unwell is a check that found something to mend.
func unwell(name string, err error, hint string) check {
	return check{Name: name, Detail: err.Error(), Hint: hint}
}

// findings are all that the doctor knows. In JSON they are a contract with scripts.
type findings struct {
	OK      bool          `json:"ok"` // All checks are.
	Checks  []check       `json:"checks"`
	Driver  driverFinding `json:"driver"`
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
		err = found.write(stdout)
	}
	if err == nil && !found.OK {
		err = errUnwell
	}
	return err
}

// write prints findings for people.
func (f findings) write(w io.Writer) error {
	for _, c := range f.Checks {
		word := "ok"
		if !c.OK {
			word = "BAD"
		}
		if _, err := fmt.Fprintf(w, "%-4s %-10s %s\n", word, c.Name, c.Detail); err != nil {
			return err
		}
		if c.Hint == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-15s → %s\n", "", c.Hint); err != nil {
			return err
		}
	}
	return nil
}
