package main

import (
	"context"
	"fmt"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/borealis/support"
)

func (c *console) support(ctx context.Context, args []string) error {
	f := c.flags("support FILE", "writes what support needs to a ZIP file that is not there yet, without secrets")
	data, sealed := dataFlag(f), sealOptions(f)
	var b support.Bundle
	whereabouts(f, &b.Doctor)
	named, err := c.parse(f, args, "FILE")
	if err != nil {
		return err
	}
	b.Doctor.Root, b.Doctor.Seal = engine.Root(*data), *sealed
	if err := b.Write(ctx, named[0]); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stderr, "Wrote %s. It holds no secret, but names of operators and devices.\n", named[0])
	return err
}
