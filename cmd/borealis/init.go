package main

import (
	"context"
	"fmt"
	"os"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
)

func (c *console) init(ctx context.Context, args []string) error {
	f := c.flags("init", "makes keys, database and the first administrator; prints the password once")
	data := dataFlag(f)
	name := f.String("operator", "admin", "`NAME` of the first administrator")
	sealed := sealOptions(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	root := engine.Root(*data)
	if _, err := os.Stat(root.Database()); err == nil {
		return &hint.Error{
			Err:  fmt.Errorf("there is an engine in %s already, nothing was changed", *data),
			Hint: "add operators with \"borealis operator add NAME\", or choose another --data",
		}
	}
	password, err := engine.Init(ctx, root, *name, *sealed)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Data     string `json:"data"`
			Operator string `json:"operator"`
			Password string `json:"password"`
		}{*data, *name, password})
	}
	_, err = fmt.Fprintf(c.stdout, `Made an engine in %s.

  operator  %s
  password  %s

The password is not shown again. %s
Start with: borealis serve --data %s
`, *data, *name, password, advice(*sealed, root), *data)
	return err
}

// advice says what to do about the key, which a backup of the data root leaves out.
func advice(s engine.Seal, root engine.Root) string {
	if s.PassphraseFile != "" {
		return "The engine's secrets are sealed with the passphrase; nothing opens them without it."
	}
	return fmt.Sprintf("The engine's secrets are sealed with the key in\n%s: keep a copy of it, but not beside the backups.", s.Path(root))
}
