package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"borealis/agent/checkup"
	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/engine"
)

// errUnwell is returned when the doctor has found something to mend.
var errUnwell = errors.New("something is to be mended, see above")

func (c *console) doctor(ctx context.Context, args []string) error {
	f := c.flags("doctor", "looks at everything that an engine needs, and says what to mend; also while it runs, and without root")
	data, sealed := dataFlag(f), sealOptions(f)
	var config doctor.Config
	whereabouts(f, &config)
	f.StringVar(&config.Device, "device", "", "`NAME` or id of a device that cannot be reached")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	config.Root, config.Seal = engine.Root(*data), *sealed
	r := doctor.Examine(ctx, config)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var err error
	if *asJSON {
		err = c.printJSON(r)
	} else if err = checkup.Write(c.stdout, r.Checks); err != nil {
		err = fmt.Errorf("write the findings: %w", err)
	}
	if err == nil && !r.OK {
		err = errUnwell
	}
	return err
}

// whereabouts adds the flags that say where the engine is to be found.
func whereabouts(f *flag.FlagSet, config *doctor.Config) {
	f.StringVar(&config.Listen, "listen", "", "TCP `ADDRESS` of the engine; empty means the port that agents dial, on this host")
	f.IntVar(&config.UDPPort, "udp-port", 30000, "UDP `PORT` of the engine's WireGuard")
}
