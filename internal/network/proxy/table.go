package proxy

import (
	"context"
	"log/slog"

	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/plan"
)

// table writes the rules of one family and remembers what it wrote. One goroutine uses it.
type table struct {
	tools *apply.IPTables
	log   *slog.Logger

	cfg     plan.Config
	written map[serviceKey][]portRules
	// whole tells that the kernel holds written; otherwise the next write is of everything.
	whole bool
	// endpoints counts those of written.
	endpoints int
}

// many is the number of endpoints from which on rules are written without what only explains. Below half of it they get it again.
const many = 1000

// brief tells whether rules of so many endpoints should be brief, which they are now or not.
func brief(endpoints int, now bool) bool { return endpoints > many || now && endpoints > many/2 }

// outgrown tells that all rules should be written anew in the other form.
func (t *table) outgrown() bool { return t.whole && brief(t.endpoints, t.cfg.Brief) != t.cfg.Brief }

// portRules is what one port of a Service has come to.
type portRules struct {
	port  plan.Port
	sel   plan.Selection
	rules plan.Rules
}

func newTable(tools *apply.IPTables, log *slog.Logger) *table {
	return &table{tools: tools, log: log, written: map[serviceKey][]portRules{}}
}

func (t *table) compute(s state) []portRules { return t.render(t.choose(s)) }

// choose finds a Service's ports and endpoints.
func (t *table) choose(s state) []portRules {
	if s.service == nil {
		return nil
	}
	var out []portRules
	for _, p := range plan.PortsOf(s.service, t.cfg.IPv6) {
		out = append(out, portRules{port: p, sel: plan.Select(plan.EndpointsOf(&p, s.slices, t.cfg.Node), t.cfg.Node)})
	}
	return out
}

func (t *table) render(ports []portRules) []portRules {
	for i := range ports {
		ports[i].rules = t.cfg.Render(&ports[i].port, ports[i].sel)
	}
	return ports
}

func endpoints(rules []portRules) int {
	n := 0
	for _, p := range rules {
		n += max(len(p.sel.Cluster), len(p.sel.Local))
	}
	return n
}

// replaced is a Service before and after a write.
type replaced struct{ old, new []portRules }

// update writes the Services that changed. After an error the kernel is as before and full must follow.
func (t *table) update(ctx context.Context, states []state) ([]replaced, error) {
	var d plan.Delta
	var done []replaced
	for _, s := range states {
		r := replaced{t.written[s.key], t.compute(s)}
		change(&d, r)
		done = append(done, r)
		t.remember(s.key, r.new)
	}
	if d.Empty() {
		return done, nil
	}
	if err := t.tools.Restore(ctx, d.Text(block(t.tools))); err != nil {
		t.whole = false
		return done, err
	}
	return done, nil
}

// block is how much of the nat table one transaction should hold.
func block(tools *apply.IPTables) int {
	if tools.NFT {
		return plan.NFTBlock
	}
	return plan.OneBlock
}

func change(d *plan.Delta, r replaced) {
	old := make(map[plan.PortName]*plan.Rules, len(r.old))
	for i := range r.old {
		old[r.old[i].port.Name] = &r.old[i].rules
	}
	for i := range r.new {
		name := r.new[i].port.Name
		d.Change(old[name], &r.new[i].rules)
		delete(old, name)
	}
	for i := range r.old { // in the order of the Service, not of the map
		if rules, gone := old[r.old[i].port.Name]; gone {
			d.Change(rules, nil)
		}
	}
}

func (t *table) remember(k serviceKey, rules []portRules) {
	t.endpoints += endpoints(rules) - endpoints(t.written[k])
	if len(rules) == 0 {
		delete(t.written, k)
		return
	}
	t.written[k] = rules
}

// full makes the kernel hold the rules of all Services and no others; states must be of all. What is there already is not written.
func (t *table) full(ctx context.Context, cfg plan.Config, states []state) ([]replaced, error) {
	t.whole = false
	d, done, err := t.plan(ctx, cfg, states)
	if err != nil {
		return done, err
	}
	if !d.Empty() {
		if err := t.tools.Restore(ctx, d.Text(block(t.tools))); err != nil {
			return done, err
		}
	}
	t.whole = true
	return done, nil
}

func (t *table) plan(ctx context.Context, cfg plan.Config, states []state) (*plan.Delta, []replaced, error) {
	short := t.cfg.Brief
	t.cfg = cfg
	old := t.written
	t.written, t.endpoints = make(map[serviceKey][]portRules, len(states)), 0
	done := make([]replaced, len(states))
	for i, s := range states {
		done[i] = replaced{old[s.key], t.choose(s)}
		t.remember(s.key, done[i].new)
	}
	t.cfg.Brief = brief(t.endpoints, short)
	var ports []*plan.Rules
	for _, r := range done {
		t.render(r.new)
		for i := range r.new {
			ports = append(ports, &r.new[i].rules)
		}
	}
	saved := map[string][]byte{}
	for _, name := range plan.Tables() {
		var err error
		if saved[name], err = t.tools.Save(ctx, name); err != nil {
			return nil, done, err
		}
	}
	d := &plan.Delta{}
	d.Full(&t.cfg, ports, saved)
	return d, done, nil
}

// Cleanup removes every rule and chain of the proxy from this network namespace. No proxy may run meanwhile.
func Cleanup(ctx context.Context) error {
	for _, family := range []apply.Family{apply.IPv4, apply.IPv6} {
		tools, err := apply.Detect(ctx, family)
		if err != nil {
			continue // a node without the tools never had rules
		}
		saved := map[string][]byte{}
		for _, name := range plan.Tables() {
			if saved[name], err = tools.Save(ctx, name); err != nil {
				return err
			}
		}
		var d plan.Delta
		d.Clean(saved)
		if d.Empty() {
			continue
		}
		if err := tools.Restore(ctx, d.Text(block(tools))); err != nil {
			return err
		}
	}
	return nil
}
