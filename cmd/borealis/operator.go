package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/handlers/access"
	"borealis/store"
)

// words is a flag that may be given more than once.
type words []string

func (w *words) String() string     { return strings.Join(*w, ",") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

// dataFlag names the data root.
func dataFlag(f *flag.FlagSet) *string {
	return f.String("data", defaultData, "`DIR` of the engine's data root")
}

func (c *console) operatorAdd(ctx context.Context, args []string) error {
	f := c.flags("operator add NAME", "adds an operator; prints the password once")
	data := dataFlag(f)
	role := f.String("role", access.Operator, "`ROLE`: "+strings.Join(access.Roles(), ", "))
	var sites words
	f.Var(&sites, "site", "`NAME` of a site that the operator is held to; may be given more than once; none means every site")
	asJSON := f.Bool("json", false, "print one JSON object")
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	if err := checkRole(*role, sites); err != nil {
		return err
	}
	if access.Reserved(named[0]) {
		return hint.Usage(fmt.Sprintf("%q stands for something else in the audit trail; choose another name", named[0]))
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		password, err := engine.AddOperator(ctx, s, store.Operator{Name: named[0], Role: *role, Sites: sites})
		if err != nil {
			return err
		}
		return c.tellPassword(named[0], password, *asJSON)
	})
}

// checkRole refuses roles that do not exist, and sites for those that have none.
func checkRole(role string, sites []string) error {
	if !slices.Contains(access.Roles(), role) {
		return hint.Usage(fmt.Sprintf("--role %q: use one of %s", role, strings.Join(access.Roles(), ", ")))
	}
	if len(sites) > 0 && !access.Scoped(role) {
		return hint.Usage(fmt.Sprintf("--site: the role %s is responsible for every site", role))
	}
	return nil
}

// tellPassword prints a new password, which is nowhere else.
func (c *console) tellPassword(name, password string, asJSON bool) error {
	if asJSON {
		return c.printJSON(struct {
			Operator string `json:"operator"`
			Password string `json:"password"`
		}{name, password})
	}
	_, err := fmt.Fprintf(c.stdout, "operator  %s\npassword  %s\n", name, password)
	return err
}

// An operatorLine is one operator in the list.
type operatorLine struct {
	Name         string   `json:"name"`
	Role         string   `json:"role"`
	Sites        []string `json:"sites"` // empty: every site
	SecondFactor bool     `json:"second_factor"`
	Locked       string   `json:"locked,omitempty"` // why
}

func (c *console) operatorList(ctx context.Context, args []string) error {
	f := c.flags("operator list", "lists the operators")
	data := dataFlag(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		lines, err := operatorLines(ctx, s)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(struct {
				Operators []operatorLine `json:"operators"`
			}{lines})
		}
		out := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "NAME\tROLE\tSITES\tSECOND FACTOR\tLOCKED")
		for _, l := range lines {
			sites := strings.Join(l.Sites, ", ")
			if sites == "" {
				sites = "all"
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%t\t%s\n", l.Name, l.Role, sites, l.SecondFactor, l.Locked)
		}
		return out.Flush()
	})
}

func operatorLines(ctx context.Context, s *store.Store) ([]operatorLine, error) {
	all, err := s.Operators(ctx)
	if err != nil {
		return nil, err
	}
	locks, err := s.Locks(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	lines := make([]operatorLine, 0, len(all))
	for _, o := range all {
		factors, err := s.Factors(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		line := operatorLine{Name: o.Name, Role: o.Role, Sites: append([]string{}, o.Sites...), SecondFactor: factors.Any()}
		if i := slices.IndexFunc(locks, func(l store.Lock) bool { return l.Kind == store.LockOperator && l.Target == o.ID }); i >= 0 {
			line.Locked = locks[i].Reason
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func (c *console) operatorRole(ctx context.Context, args []string) error {
	f := c.flags("operator role NAME ROLE", "changes what an operator may do, and where")
	data := dataFlag(f)
	var sites words
	f.Var(&sites, "site", "`NAME` of a site that the operator is held to; may be given more than once; none means every site")
	named, err := c.parse(f, args, "NAME", "ROLE")
	if err != nil {
		return err
	}
	if err := checkRole(named[1], sites); err != nil {
		return err
	}
	return c.onOperator(ctx, *data, named[0], func(s *store.Store, o store.Operator) error {
		return s.SetRole(ctx, o.ID, named[1], sites, engine.LocalRecord())
	})
}

func (c *console) operatorReset(ctx context.Context, args []string) error {
	f := c.flags("operator reset NAME", "gives an operator a new password, removes the second factors and ends the sessions")
	data := dataFlag(f)
	keep := f.Bool("keep-factors", false, "leave the second factors as they are")
	asJSON := f.Bool("json", false, "print one JSON object")
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return c.onOperator(ctx, *data, named[0], func(s *store.Store, o store.Operator) error {
		password, hash, err := engine.NewPassword()
		if err != nil {
			return err
		}
		// In this order: were it broken off, the old password would not be left alone.
		if err := s.SetPassword(ctx, o.ID, hash, engine.LocalRecord()); err != nil {
			return err
		}
		if !*keep {
			if err := s.ResetFactors(ctx, o.ID, engine.LocalRecord()); err != nil {
				return err
			}
		}
		return c.tellPassword(o.Name, password, *asJSON)
	})
}

func (c *console) operatorLock(ctx context.Context, args []string) error {
	f := c.flags("operator lock NAME", "keeps an operator out and ends all that the operator has open")
	data, l := dataFlag(f), lockOptions(f)
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return c.onOperator(ctx, *data, named[0], func(s *store.Store, o store.Operator) error {
		return c.setLock(ctx, s, l.lock(store.LockOperator, o.ID, o.Name))
	})
}

// lockOptions are the flags of a lock.
func lockOptions(f *flag.FlagSet) *lockFlags {
	l := new(lockFlags)
	f.StringVar(&l.reason, "reason", "", "`TEXT` that says why; people see it")
	f.Var(&l.life, "for", "`TIME` after which the lock ends by itself, such as 8h or 7d; without it, when it is unlocked")
	return l
}

func (c *console) operatorUnlock(ctx context.Context, args []string) error {
	f := c.flags("operator unlock NAME", "lets an operator in again")
	data := dataFlag(f)
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return c.onOperator(ctx, *data, named[0], func(s *store.Store, o store.Operator) error {
		return c.liftLock(ctx, s, store.LockOperator, o.ID, o.Name)
	})
}

func (c *console) operatorRemove(ctx context.Context, args []string) error {
	f := c.flags("operator remove NAME", "removes an operator; what the operator did stays on record")
	data := dataFlag(f)
	named, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	return c.onOperator(ctx, *data, named[0], func(s *store.Store, o store.Operator) error {
		return s.DeleteOperator(ctx, o.ID, engine.LocalRecord())
	})
}

// onOperator does something about one operator.
func (c *console) onOperator(ctx context.Context, data, name string, do func(*store.Store, store.Operator) error) error {
	return engine.Root(data).With(ctx, func(s *store.Store) error {
		o, err := engine.OperatorNamed(ctx, s, name)
		if err != nil {
			return err
		}
		return explained(do(s, o))
	})
}
