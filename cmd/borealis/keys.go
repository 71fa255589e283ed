package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/tunnel/keys"
)

func (c *console) keysShow(_ context.Context, args []string) error {
	f := c.flags("keys show", "shows the engine's public identity, which agents pin")
	data := dataFlag(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	pin, err := engine.Root(*data).Pin()
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Pin   string `json:"pin"`
			Words string `json:"words"`
		}{pin.String(), pin.Words()})
	}
	_, err = fmt.Fprintf(c.stdout, "pin    %s\nwords  %s\n", pin, pin.Words())
	return err
}

func (c *console) keysRotate(ctx context.Context, args []string) error {
	f := c.flags("keys rotate", "gives the engine a new identity; agents learn it over their channels within 30 days. Stop the engine first")
	data := dataFlag(f)
	sealed := sealOptions(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	root := engine.Root(*data)
	box, err := sealed.Open(root)
	if err != nil {
		return err
	}
	s, err := root.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	now := time.Now()
	did := engine.LocalRecord()
	did.At, did.Kind = now, "identity_rotation_begun"
	if err := s.AddRecord(ctx, did); err != nil { // no record, no change
		return err
	}
	before, after, err := keys.RotateIdentity(root.Certificates(), box, now)
	if errors.Is(err, keys.ErrOverlap) {
		return &hint.Error{Err: err, Hint: "wait for that day: an agent that was off since would lose the engine"}
	}
	if err != nil {
		return err
	}
	did = engine.LocalRecord()
	did.Kind, did.Detail = "identity_rotated", before.String()+" → "+after.String()
	if err := s.AddRecord(ctx, did); err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Old string `json:"old"`
			New string `json:"new"`
		}{before.String(), after.String()})
	}
	_, err = fmt.Fprintf(c.stdout, "old  %s\nnew  %s\n\nStart the engine: it serves both for %d days. Enrolment codes made before do not hold any more for new devices after that.\n",
		before, after, int(keys.Overlap/(24*time.Hour)))
	return err
}
