package plan

import (
	"slices"

	"hyperkube/internal/network/apply"
)

// Delta collects changes into one input for iptables-restore --noflush.
type Delta struct {
	nat, filter section
	own         []OwnChain // ports' chains to write
	gone        []string   // ports' chains to remove, to which nothing leads any more
}

// section is what changes in one table's shared chains.
type section struct {
	declare []string // chains to make, or to empty if they exist
	lines   []string
	remove  []string
}

func (d *Delta) section(table string) *section {
	if table == "nat" {
		return &d.nat
	}
	return &d.filter
}

// Empty tells whether nothing changes.
func (d *Delta) Empty() bool {
	return d.nat.empty() && d.filter.empty() && len(d.own)+len(d.gone) == 0
}

func (s *section) empty() bool { return len(s.declare)+len(s.lines)+len(s.remove) == 0 }

// Change turns a port's old rules into its new ones. Either may be nil. Rules that both have are not written.
func (d *Delta) Change(old, new *Rules) {
	if old == nil {
		old = &Rules{}
	}
	if new == nil {
		new = &Rules{}
	}
	had := make(map[string][]string, len(old.Own))
	for _, c := range old.Own {
		had[c.Name] = c.Rules
	}
	for _, c := range new.Own {
		rules, ok := had[c.Name]
		delete(had, c.Name)
		if !ok || !slices.Equal(rules, c.Rules) {
			d.own = append(d.own, c)
		}
	}
	for _, r := range old.Shared {
		if !slices.Contains(new.Shared, r) {
			s := d.section(r.Chain.Table)
			s.lines = append(s.lines, "-D "+r.Chain.Name+" "+r.Rule)
		}
	}
	for _, r := range new.Shared {
		if !slices.Contains(old.Shared, r) {
			s := d.section(r.Chain.Table)
			s.lines = append(s.lines, "-I "+r.Chain.Name+" "+r.Rule)
		}
	}
	for _, c := range old.Own {
		if _, gone := had[c.Name]; gone {
			d.gone = append(d.gone, c.Name)
		}
	}
}

// Full makes the tables hold exactly the static rules and those of the ports. saved is the output of iptables-save for each
// table: what is there already is not written, and chains of ports that are not wanted any more are removed.
func (d *Delta) Full(c *Config, ports []*Rules, saved map[string][]byte) {
	have := map[string]map[string][]string{}
	for _, table := range Tables() {
		have[table] = apply.Rules(saved[table])
	}
	wanted := make(map[string]bool)
	shared := map[Chain][]string{}
	for _, p := range ports {
		for _, own := range p.Own {
			wanted[own.Name] = true
			if rules, ok := have["nat"][own.Name]; !ok || !slices.Equal(rules, own.Rules) {
				d.own = append(d.own, own)
			}
		}
		for _, r := range p.Shared {
			shared[r.Chain] = append(shared[r.Chain], r.Rule)
		}
	}
	static := c.Static()
	for _, table := range Tables() {
		s := d.section(table)
		for _, name := range SharedChains(table) {
			chain := Chain{table, name}
			s.replace(name, shared[chain], static[chain], have[table])
		}
		s.lines = append(s.lines, apply.MissingJumps(saved[table], Jumps(table))...)
	}
	for chain := range have["nat"] {
		if Owned(chain) && !wanted[chain] {
			d.gone = append(d.gone, chain)
		}
	}
}

// replace writes a shared chain anew, unless it holds the rules already. The order of those of ports means nothing; last come after them.
func (s *section) replace(name string, rules, last []string, have map[string][]string) {
	if old, ok := have[name]; ok && len(old) == len(rules)+len(last) && slices.Equal(old[len(rules):], last) && sameSet(old[:len(rules)], rules) {
		return
	}
	s.declare = append(s.declare, name)
	slices.SortFunc(rules, byTarget)
	for _, r := range rules {
		s.lines = append(s.lines, "-A "+name+" "+r)
	}
	for _, r := range last {
		s.lines = append(s.lines, "-A "+name+" "+r)
	}
}

func sameSet(a, b []string) bool {
	in := make(map[string]bool, len(a))
	for _, x := range a {
		in[x] = true
	}
	for _, x := range b {
		if !in[x] {
			return false
		}
	}
	return len(in) == len(b)
}

// Clean removes everything of the proxy that saved, the output of iptables-save for each table, has.
func (d *Delta) Clean(saved map[string][]byte) {
	for _, table := range Tables() {
		s := d.section(table)
		s.lines = append(s.lines, apply.PresentJumps(saved[table], Jumps(table))...)
		for _, chain := range apply.Chains(saved[table]) {
			switch {
			case table == "nat" && Owned(chain):
				d.gone = append(d.gone, chain)
			case slices.Contains(SharedChains(table), chain):
				s.declare = append(s.declare, chain)
				s.remove = append(s.remove, chain)
			}
		}
	}
}
