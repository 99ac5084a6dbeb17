package plan

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// OwnChain is a chain of one port with its rules. Rules are written without "-A" and the chain's name, and in all else
// exactly as iptables-save prints them, so that a rule that is in the kernel already is recognised.
type OwnChain struct {
	Name  string
	Rules []string
}

// Rules are all rules of one port of one Service.
type Rules struct {
	// Own are chains of the nat table.
	Own []OwnChain
	// Shared are rules in chains that all ports share.
	Shared []SharedRule
}

// SharedRule is one rule in a shared chain, written without the chain's name.
type SharedRule struct {
	Chain Chain
	Rule  string
}

// renderer puts one port's rules together.
type renderer struct {
	*Config
	p     *Port
	sel   Selection
	out   Rules
	proto string
	hash  string
}

// Render gives the rules of a port whose traffic goes to the selected endpoints.
func (c *Config) Render(p *Port, sel Selection) Rules {
	r := &renderer{Config: c, p: p, sel: sel, proto: strings.ToLower(string(p.Protocol))}
	r.hash = hash(p.Name.String(), r.proto)
	r.internal()
	r.external()
	r.policyChains()
	return r.out
}

func (r *renderer) chain(kind string) string { return "KUBE-" + kind + "-" + r.hash }

func (r *renderer) shared(c Chain, rule string) {
	r.out.Shared = append(r.out.Shared, SharedRule{c, rule})
}

func (r *renderer) own(name string, rules []string) {
	r.out.Own = append(r.out.Own, OwnChain{name, rules})
}

func comment(parts ...string) string {
	if len(parts) == 0 {
		return ""
	}
	return `-m comment --comment "` + strings.Join(parts, " ") + `" `
}

// words are those of a comment in a port's own chain.
func (r *renderer) words(parts ...string) []string {
	if r.Brief {
		return nil
	}
	return parts
}

func (r *renderer) note(parts ...string) string { return comment(r.words(parts...)...) }

// to matches packets for an address and port; from is put before, for a condition on the source.
func (r *renderer) to(from string, ip netip.Addr, port uint16, note ...string) string {
	in := ""
	if strings.Contains(from, "-i ") { // the kernel's order is source, destination, interface
		from, in = "", from
	}
	return from + "-d " + single(ip) + " " + in + r.toNode(port, "", note...)
}

// toNode matches packets for a port of the node, and module another condition.
func (r *renderer) toNode(port uint16, module string, note ...string) string {
	return "-p " + r.proto + " " + comment(note...) + module + "-m " + r.proto + " --dport " + strconv.Itoa(int(port)) + " "
}

func (r *renderer) reject() string {
	if r.IPv6 {
		return "-j REJECT --reject-with icmp6-port-unreachable"
	}
	return "-j REJECT --reject-with icmp-port-unreachable"
}

// policy picks by traffic policy the endpoints and the chain with them.
func (r *renderer) policy(local bool) (chain string, endpoints []Endpoint) {
	if local {
		return r.chain("SVL"), r.sel.Local
	}
	return r.chain("SVC"), r.sel.Cluster
}

// refusal is what happens to packets when their policy leaves no endpoint: with none at all the sender is
// told; with some on other nodes the packet is dropped, since the sender may only have an old picture.
func (r *renderer) refusal() (why, target string) {
	if r.sel.Any {
		return "has no local endpoints", "-j DROP"
	}
	return "has no endpoints", r.reject()
}

func (r *renderer) internal() {
	chain, endpoints := r.policy(r.p.InternalLocal)
	name := r.p.Name.String()
	if len(endpoints) == 0 {
		why, target := r.refusal()
		r.shared(filterServices, r.to("", r.p.ClusterIP, r.p.Number, name, why)+target)
		return
	}
	r.shared(NatServices, r.to("", r.p.ClusterIP, r.p.Number, name, "cluster IP")+"-j "+chain)
}

func (r *renderer) external() {
	if !r.p.External() {
		return
	}
	_, endpoints := r.policy(r.p.ExternalLocal)
	name, ext := r.p.Name.String(), r.chain("EXT")
	reach := func(ip netip.Addr, what, chain string) {
		if r.sel.Any {
			r.shared(NatServices, r.to("", ip, r.p.Number, name, what)+"-j "+chain)
		}
		if len(endpoints) == 0 {
			why, target := r.refusal()
			r.shared(filterExternal, r.to("", ip, r.p.Number, name, why)+target)
		}
	}
	for _, ip := range r.p.ExternalIPs {
		reach(ip, "external IP", ext)
	}
	for _, ip := range r.p.LoadBalancerIPs {
		chain := ext
		if r.p.Restricted {
			chain = r.chain("FW")
			r.shared(filterFirewall, r.to("", ip, r.p.Number, name, "traffic not accepted by", chain)+"-j DROP")
		}
		reach(ip, "loadbalancer IP", chain)
	}
	if r.p.NodePort != 0 && !r.NoNodePorts {
		if r.sel.Any {
			r.shared(NatNodePorts, r.toNode(r.p.NodePort, "", name)+"-j "+ext)
		}
		if len(endpoints) == 0 {
			why, target := r.refusal()
			r.shared(filterExternal, r.toNode(r.p.NodePort, "-m addrtype --dst-type LOCAL ", name, why)+target)
		}
	}
	if r.p.HealthCheckNodePort != 0 {
		r.shared(filterNodePorts, "-p tcp "+comment(name, "health check node port")+"-m tcp --dport "+strconv.Itoa(int(r.p.HealthCheckNodePort))+" -j ACCEPT")
	}
	if r.sel.Any {
		r.externalChain(ext)
		r.firewallChain(ext)
	}
}

// externalChain decides for packets from outside whether their source may stay. With the Cluster policy they are marked, since the
// answer must come back through this node. With Local they keep their source, but those from pods and from this node, which
// would be dropped where there are no local endpoints, are handled as if they had used the cluster address.
func (r *renderer) externalChain(ext string) {
	name := r.p.Name.String()
	var rules []string
	if !r.p.ExternalLocal {
		rules = append(rules, comment("masquerade traffic for", name, "external destinations")+"-j KUBE-MARK-MASQ")
		rules = append(rules, "-j "+r.chain("SVC"))
		if len(r.sel.Cluster) == 0 {
			rules = rules[:1]
		}
		r.own(ext, rules)
		return
	}
	if len(r.sel.Cluster) > 0 {
		svc := "-j " + r.chain("SVC")
		if r.Local.known() {
			rules = append(rules, r.Local.match("")+" "+comment("pod traffic for", name, "external destinations")+svc)
		}
		local := "-m addrtype --src-type LOCAL "
		rules = append(rules, comment("masquerade LOCAL traffic for", name, "external destinations")+local+"-j KUBE-MARK-MASQ")
		rules = append(rules, comment("route LOCAL traffic for", name, "external destinations")+local+svc)
	}
	if len(r.sel.Local) > 0 {
		rules = append(rules, "-j "+r.chain("SVL"))
	}
	r.own(ext, rules)
}

// firewallChain lets the sources through that may use the load balancer's addresses; the filter table drops the others.
func (r *renderer) firewallChain(ext string) {
	if !r.p.Restricted || len(r.p.LoadBalancerIPs) == 0 {
		return
	}
	name := r.p.Name.String()
	var rules []string
	nodeAllowed := false
	for _, s := range r.p.SourceRanges {
		rules = append(rules, "-s "+s.String()+" "+comment(name, "loadbalancer IP")+"-j "+ext)
		for _, ip := range r.NodeIPs {
			nodeAllowed = nodeAllowed || s.Contains(ip)
		}
	}
	if nodeAllowed {
		// A node that has the balancer's address itself talks to it from that address.
		for _, ip := range r.p.LoadBalancerIPs {
			rules = append(rules, "-s "+single(ip)+" "+comment(name, "loadbalancer IP")+"-j "+ext)
		}
	}
	rules = append(rules, strings.TrimSpace(comment("other traffic to", name, "will be dropped by KUBE-PROXY-FIREWALL")))
	r.own(r.chain("FW"), rules)
}

// policyChains renders the chains that pick an endpoint, and those of the endpoints.
func (r *renderer) policyChains() {
	usesLocal := r.p.InternalLocal || r.p.ExternalLocal && r.p.External()
	usesCluster := !r.p.InternalLocal || r.p.External()
	seen := map[netip.AddrPort]bool{}
	if usesCluster && len(r.sel.Cluster) > 0 {
		r.policyChain(r.chain("SVC"), r.sel.Cluster, !r.p.InternalLocal)
		r.endpointChains(r.sel.Cluster, seen)
	}
	if usesLocal && len(r.sel.Local) > 0 {
		r.policyChain(r.chain("SVL"), r.sel.Local, r.p.InternalLocal)
		r.endpointChains(r.sel.Local, seen)
	}
}

func (r *renderer) policyChain(chain string, endpoints []Endpoint, internal bool) {
	name := r.p.Name.String()
	rules := make([]string, 0, len(endpoints)+1)
	if internal {
		match := func(from string) string { return r.to(from, r.p.ClusterIP, r.p.Number, r.words(name, "cluster IP")...) }
		if r.MasqueradeAll {
			rules = append(rules, match("")+"-j KUBE-MARK-MASQ")
		} else if r.Local.known() {
			// From outside of the cluster: the answer must come back through this node.
			rules = append(rules, match(r.Local.match("! ")+" ")+"-j KUBE-MARK-MASQ")
		}
	}
	if r.p.AffinitySeconds > 0 {
		for _, e := range endpoints {
			sep := r.endpointChain(e)
			rules = append(rules, r.note(name, "->", e.Addr.String())+
				fmt.Sprintf("-m recent --rcheck --seconds %d --reap --name %s %s -j %s", r.p.AffinitySeconds, sep, r.wholeSource(), sep))
		}
	}
	for i, e := range endpoints {
		rule := r.note(name, "->", e.Addr.String())
		if left := len(endpoints) - i; left > 1 {
			rule += "-m statistic --mode random --probability " + probability(left) + " "
		}
		rules = append(rules, rule+"-j "+r.endpointChain(e))
	}
	r.own(chain, rules)
}

func (r *renderer) endpointChain(e Endpoint) string {
	return "KUBE-SEP-" + hash(r.p.Name.String(), r.proto, e.Addr.String())
}

func (r *renderer) endpointChains(endpoints []Endpoint, seen map[netip.AddrPort]bool) {
	for _, e := range endpoints {
		if seen[e.Addr] {
			continue
		}
		seen[e.Addr] = true
		note, sep := r.note(r.p.Name.String()), r.endpointChain(e)
		affinity := ""
		if r.p.AffinitySeconds > 0 {
			affinity = "-m recent --set --name " + sep + " " + r.wholeSource() + " "
		}
		module := "-m " + r.proto + " " // says what -p says already
		if r.Brief {
			module = ""
		}
		r.own(sep, []string{
			// A pod that reaches itself would otherwise see an answer that never left it.
			"-s " + single(e.Addr.Addr()) + " " + note + "-j KUBE-MARK-MASQ",
			"-p " + r.proto + " " + note + affinity + module + "-j DNAT --to-destination " + e.Addr.String(),
		})
	}
}

// wholeSource makes the recent module tell clients apart by their whole address.
func (r *renderer) wholeSource() string {
	if r.IPv6 {
		return "--mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource"
	}
	return "--mask 255.255.255.255 --rsource"
}

// probability is one in n as the kernel keeps it, in 31 bits.
func probability(n int) string {
	const whole = 0x80000000
	return strconv.FormatFloat(math.Round(whole/float64(n))/whole, 'f', 11, 64)
}
