package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
)

const defaultData = "/var/lib/borealis"

// flags makes a flag set whose defaults can come from the environment.
func (c *console) flags(name, about string) *flag.FlagSet {
	f := flag.NewFlagSet("borealis "+name, flag.ContinueOnError)
	f.SetOutput(c.stderr)
	f.Usage = func() {
		fmt.Fprintf(c.stderr, "borealis %s: %s\n\n", name, about)
		f.PrintDefaults()
	}
	return f
}

// parse reads the environment, then the arguments. It returns the arguments that are
// not flags, of which there must be exactly as many as want names.
func (c *console) parse(f *flag.FlagSet, args []string, want ...string) ([]string, error) {
	var bad error
	f.VisitAll(func(one *flag.Flag) {
		key := "BOREALIS_" + strings.ToUpper(strings.ReplaceAll(one.Name, "-", "_"))
		if v := c.getenv(key); v != "" {
			if err := f.Set(one.Name, v); err != nil {
				bad = errors.Join(bad, hint.Usage(fmt.Sprintf("%s=%q: %v", key, v, err)))
			}
		}
	})
	if bad != nil {
		return nil, bad
	}
	var words []string
	for { // flags may stand before and after the words
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, hint.Usage(err.Error())
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	if len(words) < len(want) {
		return nil, hint.Usage(fmt.Sprintf("%s is missing; run \"%s -h\"", want[len(words)], f.Name()))
	}
	if len(words) > len(want) {
		return nil, hint.Usage(fmt.Sprintf("%q is one word too many; run \"%s -h\"", words[len(want)], f.Name()))
	}
	return words, nil
}

// printJSON writes the one JSON object that --json promises.
func (c *console) printJSON(v any) error {
	if err := json.NewEncoder(c.stdout).Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// logLevel adds the flag that says how much is logged.
func logLevel(f *flag.FlagSet) *slog.Level {
	level := new(slog.Level)
	f.TextVar(level, "log-level", slog.LevelInfo, "log this `LEVEL` and what is graver: debug (every step of every tunnel), info, warn or error")
	return level
}

// sealOptions adds the flags that say where the key to the engine's secrets is.
func sealOptions(f *flag.FlagSet) *engine.Seal {
	s := new(engine.Seal)
	f.StringVar(&s.KeyFile, "seal-key", "", "`FILE` with the key that unseals the engine's secrets; empty means the systemd credential "+engine.SealCredential+", else the data root's name with .key")
	f.StringVar(&s.PassphraseFile, "seal-passphrase-file", "", "`FILE` with a passphrase in place of a key")
	return s
}
