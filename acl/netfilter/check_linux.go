package netfilter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"borealis/acl"
)

// tables is what the kernel holds for each family, in the order of Firewall.families.
type tables struct {
	family     []table
	asleep     []bool // whether the family's table is switched off
	generation uint32 // of all of it; 0 means that it may be of several
}

// wanted is what the tables are to hold for a plan.
func (f *Firewall) wanted(plan acl.Plan) []rules {
	want := []rules{rules4(f.config, plan)}
	if len(f.families) > 1 {
		want = append(want, rules6(f.config))
	}
	return want
}

// look reads the tables. When somebody else goes on to change rules meanwhile, what it read has no
// generation.
func (f *Firewall) look(ctx context.Context) (tables, error) {
	const tries = 3
	var t tables
	for range tries {
		before, err := generation()
		if err != nil {
			return tables{}, err
		}
		if t, err = f.readAll(ctx); err != nil {
			return tables{}, err
		}
		after, err := generation()
		if err != nil {
			return tables{}, err
		}
		if after == before {
			t.generation = after
			break
		}
	}
	return t, nil
}

func (f *Firewall) readAll(ctx context.Context) (tables, error) {
	var t tables
	for _, family := range f.families {
		rules, err := family.read(ctx)
		if err != nil {
			return tables{}, err
		}
		asleep, err := family.dormant()
		if err != nil {
			return tables{}, err
		}
		t.family, t.asleep = append(t.family, rules), append(t.asleep, asleep)
	}
	return t, nil
}

// drift says what is not as wanted, one clause each.
func (t tables) drift(want []rules) []string {
	var wrong []string
	for n, have := range t.family {
		clauses := have.drift(want[n])
		if t.asleep[n] {
			clauses = append([]string{"the table filter was switched off"}, clauses...)
		}
		for _, c := range clauses {
			if n > 0 {
				c += " (IPv6)"
			}
			wrong = append(wrong, c)
		}
	}
	return wrong
}

// send changes the tables from what they are to what is wanted, each family at once. One that
// cannot be changed does not keep the other open.
func (f *Firewall) send(ctx context.Context, have tables, want []rules) error {
	var errs []error
	for n := range f.families {
		errs = append(errs, f.sendTo(ctx, n, have, want[n]))
	}
	return errors.Join(errs...)
}

// sendTo changes the table of one family. What takes long is closed first, at once: flows stall
// until the rest is there.
func (f *Firewall) sendTo(ctx context.Context, n int, have tables, want rules) error {
	b := mend(have.family[n], want)
	if len(want.chains) > 0 && len(b.text()) > maxPart {
		shut := sealed(f.config, want)
		if err := f.families[n].send(ctx, mend(have.family[n].only(shut), shut)); err != nil {
			return err
		}
		b = mend(have.family[n].with(shut), want)
	}
	if err := f.families[n].send(ctx, b); err != nil {
		return err
	}
	if have.asleep[n] && len(want.chains) > 0 {
		return f.families[n].setFlags(0)
	}
	return nil
}

// repair makes the tables right for a plan, looks whether that held, and returns what was wrong.
func (f *Firewall) repair(ctx context.Context, have tables, plan acl.Plan) (wrong []string, err error) {
	want := f.wanted(plan)
	if wrong = have.drift(want); len(wrong) > 0 {
		f.generation = 0
		if err := f.send(ctx, have, want); err != nil {
			return wrong, err
		}
		if have, err = f.look(ctx); err != nil {
			return wrong, err
		}
		if still := have.drift(want); len(still) > 0 {
			return wrong, fmt.Errorf("the rules do not stay as they are set: %s", sentence(still))
		}
	}
	f.generation = have.generation
	return wrong, nil
}

// check looks at the tables, repairs them if they need it, and tells what came of it.
func (f *Firewall) check(ctx context.Context) (repaired bool, err error) {
	var wrong []string
	have, err := f.look(ctx)
	if err == nil {
		wrong, err = f.repair(ctx, have, f.plan)
	}
	if err != nil && ctx.Err() != nil {
		f.generation = 0 // nothing was found out
		return false, err
	}
	if err != nil {
		f.failures++
		if f.failures == 2 {
			f.setHealth(fmt.Errorf("the rules of the packet filter are lost: %w", err))
			f.tell(Lost, cmp.Or(sentence(wrong), "The rules could not be read."), err)
		}
		return false, err
	}
	lost := f.failures >= 2
	f.failures = 0
	switch {
	case lost:
		f.setHealth(nil)
		f.tell(Restored, cmp.Or(sentence(wrong), "Something else made the rules right."), nil)
	case len(wrong) > 0:
		f.tell(Repaired, sentence(wrong), nil)
	}
	return len(wrong) > 0, nil
}

func (f *Firewall) setHealth(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health = err
}

// sentence makes one of clauses; of many it names the first.
func sentence(clauses []string) string {
	const most = 3
	if len(clauses) == 0 {
		return ""
	}
	text := strings.Join(clauses[:min(most, len(clauses))], ", ")
	if more := len(clauses) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
