package overlay

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"hyperkube/internal/network/apply"
)

const (
	chainMasq    = "FLANNEL-POSTRTG"
	chainForward = "FLANNEL-FWD"
	noteMasq     = `-m comment --comment "flanneld masq"`
)

var (
	masqJumps    = []apply.Jump{{From: "POSTROUTING", To: chainMasq, Match: noteMasq, Last: true}}
	forwardJumps = []apply.Jump{{From: "FORWARD", To: chainForward, Match: `-m comment --comment "flanneld forward"`, Last: true}}
)

// masqRules are written as iptables-save prints them. Packets that a service marked are left to the proxy; between pods
// nothing is translated; from pods to elsewhere, and from elsewhere to pods of other nodes, the node's address is put.
func masqRules(cluster, subnet netip.Prefix, randomFully bool) []string {
	to := "-j MASQUERADE"
	if randomFully {
		to += " --random-fully"
	}
	return []string{
		fmt.Sprintf("-A %s -m mark --mark 0x4000/0x4000 %s -j RETURN", chainMasq, noteMasq),
		fmt.Sprintf("-A %s -s %v -d %v %s -j RETURN", chainMasq, subnet, cluster, noteMasq),
		fmt.Sprintf("-A %s -s %v -d %v %s -j RETURN", chainMasq, cluster, subnet, noteMasq),
		fmt.Sprintf("-A %s ! -s %v -d %v %s -j RETURN", chainMasq, cluster, subnet, noteMasq),
		fmt.Sprintf("-A %s -s %v ! -d 224.0.0.0/4 %s %s", chainMasq, cluster, noteMasq, to),
		fmt.Sprintf("-A %s ! -s %v -d %v %s %s", chainMasq, cluster, cluster, noteMasq, to),
	}
}

func forwardRules(cluster netip.Prefix) []string {
	note := `-m comment --comment "flanneld forward"`
	return []string{
		fmt.Sprintf("-A %s -s %v %s -j ACCEPT", chainForward, cluster, note),
		fmt.Sprintf("-A %s -d %v %s -j ACCEPT", chainForward, cluster, note),
	}
}

// ruleKeeper holds the packet filter rules of the overlay in place.
type ruleKeeper struct {
	tools           *apply.IPTables
	cluster, subnet netip.Prefix
	masq, forward   bool
}

// ensure makes what is missing or different; it writes nothing when all is right.
func (r *ruleKeeper) ensure(ctx context.Context) error {
	var b strings.Builder
	if r.masq {
		if err := r.ensureTable(ctx, &b, "nat", chainMasq, masqRules(r.cluster, r.subnet, r.tools.RandomFully), masqJumps); err != nil {
			return err
		}
	}
	if r.forward {
		if err := r.ensureTable(ctx, &b, "filter", chainForward, forwardRules(r.cluster), forwardJumps); err != nil {
			return err
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return r.tools.Restore(ctx, []byte(b.String()))
}

func (r *ruleKeeper) ensureTable(ctx context.Context, b *strings.Builder, table, chain string, rules []string, jumps []apply.Jump) error {
	saved, err := r.tools.Save(ctx, table)
	if err != nil {
		return err
	}
	missing := apply.MissingJumps(saved, jumps)
	same := sameRules(string(saved), chain, rules)
	if same && len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(b, "*%s\n", table)
	if !same {
		fmt.Fprintf(b, ":%s - [0:0]\n%s\n", chain, strings.Join(rules, "\n"))
	}
	for _, l := range missing {
		b.WriteString(l + "\n")
	}
	b.WriteString("COMMIT\n")
	return nil
}

func sameRules(saved, chain string, rules []string) bool {
	var have []string
	for _, line := range strings.Split(saved, "\n") {
		if strings.HasPrefix(line, "-A "+chain+" ") {
			have = append(have, line)
		}
	}
	return strings.Join(have, "\n") == strings.Join(rules, "\n")
}

func cleanRules(ctx context.Context) error {
	tools, err := apply.Detect(ctx, apply.IPv4)
	if err != nil {
		return nil // a node without the tools never had rules
	}
	var b strings.Builder
	for _, t := range []struct {
		table, chain string
		jumps        []apply.Jump
	}{{"nat", chainMasq, masqJumps}, {"filter", chainForward, forwardJumps}} {
		saved, err := tools.Save(ctx, t.table)
		if err != nil {
			return err
		}
		if !strings.Contains(string(saved), "\n:"+t.chain+" ") {
			continue
		}
		fmt.Fprintf(&b, "*%s\n:%s - [0:0]\n", t.table, t.chain)
		for _, l := range apply.PresentJumps(saved, t.jumps) {
			b.WriteString(l + "\n")
		}
		fmt.Fprintf(&b, "-X %s\nCOMMIT\n", t.chain)
	}
	if b.Len() == 0 {
		return nil
	}
	return tools.Restore(ctx, []byte(b.String()))
}
