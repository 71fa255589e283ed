package main

import (
	"context"
	"fmt"
	"io"

	"borealis/agent"
)

// move tells the agent on this device where its engine is now.
func move(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("move", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	var address string
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' { // It stands first: flags end at a word.
		address, args = args[0], args[1:]
	}
	if err := parse(f, args); err != nil {
		return err
	}
	if address == "" {
		return fmt.Errorf("%w: move HOST:PORT [--data DIR]", errUsage)
	}
	r, err := agent.Move(ctx, *data, address)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "The engine answers at %s: %s.\nThe agent looks for it there first, from the next time on that it connects; it needs no restart.\n", r.Address, r.Engine.Words())
	return err
}
