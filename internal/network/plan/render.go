package plan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// OwnChain is a chain of one port with its rules, which are written without "-A" and the chain's name.
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
	return `-m comment --comment "` + strings.Join(parts, " ") + `" `
}

// to matches packets for an address and port.
func (r *renderer) to(ip netip.Addr, port uint16) string {
	return "-m " + r.proto + " -p " + r.proto + " -d " + single(ip) + " --dport " + strconv.Itoa(int(port)) + " "
}

// toNode matches packets for a port of the node.
func (r *renderer) toNode(port uint16) string {
	return "-m " + r.proto + " -p " + r.proto + " --dport " + strconv.Itoa(int(port)) + " "
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
	return "has no endpoints", "-j REJECT"
}

func (r *renderer) internal() {
	chain, endpoints := r.policy(r.p.InternalLocal)
	name, match := r.p.Name.String(), r.to(r.p.ClusterIP, r.p.Number)
	if len(endpoints) == 0 {
		why, target := r.refusal()
		r.shared(filterServices, comment(name, why)+match+target)
		return
	}
	r.shared(NatServices, comment(name, "cluster IP")+match+"-j "+chain)
}

func (r *renderer) external() {
	if !r.p.External() {
		return
	}
	_, endpoints := r.policy(r.p.ExternalLocal)
	name, ext := r.p.Name.String(), r.chain("EXT")
	reach := func(ip netip.Addr, what, chain string) {
		match := r.to(ip, r.p.Number)
		if r.sel.Any {
			r.shared(NatServices, comment(name, what)+match+"-j "+chain)
		}
		if len(endpoints) == 0 {
			why, target := r.refusal()
			r.shared(filterExternal, comment(name, why)+match+target)
		}
	}
	for _, ip := range r.p.ExternalIPs {
		reach(ip, "external IP", ext)
	}
	for _, ip := range r.p.LoadBalancerIPs {
		chain := ext
		if r.p.Restricted {
			chain = r.chain("FW")
			r.shared(filterFirewall, comment(name, "traffic not accepted by", chain)+r.to(ip, r.p.Number)+"-j DROP")
		}
		reach(ip, "loadbalancer IP", chain)
	}
	if r.p.NodePort != 0 && !r.NoNodePorts {
		if r.sel.Any {
			r.shared(NatNodePorts, comment(name)+r.toNode(r.p.NodePort)+"-j "+ext)
		}
		if len(endpoints) == 0 {
			why, target := r.refusal()
			r.shared(filterExternal, comment(name, why)+"-m addrtype --dst-type LOCAL "+r.toNode(r.p.NodePort)+target)
		}
	}
	if r.p.HealthCheckNodePort != 0 {
		r.shared(filterNodePorts, comment(name, "health check node port")+"-m tcp -p tcp --dport "+strconv.Itoa(int(r.p.HealthCheckNodePort))+" -j ACCEPT")
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
			rules = append(rules, comment("pod traffic for", name, "external destinations")+r.Local.match("")+" "+svc)
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
		rules = append(rules, comment(name, "loadbalancer IP")+"-s "+s.String()+" -j "+ext)
		for _, ip := range r.NodeIPs {
			nodeAllowed = nodeAllowed || s.Contains(ip)
		}
	}
	if nodeAllowed {
		// A node that has the balancer's address itself talks to it from that address.
		for _, ip := range r.p.LoadBalancerIPs {
			rules = append(rules, comment(name, "loadbalancer IP")+"-s "+single(ip)+" -j "+ext)
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
		match := comment(name, "cluster IP") + r.to(r.p.ClusterIP, r.p.Number)
		if r.MasqueradeAll {
			rules = append(rules, match+"-j KUBE-MARK-MASQ")
		} else if r.Local.known() {
			// From outside of the cluster: the answer must come back through this node.
			rules = append(rules, match+r.Local.match("! ")+" -j KUBE-MARK-MASQ")
		}
	}
	if r.p.AffinitySeconds > 0 {
		for _, e := range endpoints {
			sep := r.endpointChain(e)
			rules = append(rules, comment(name, "->", e.Addr.String())+
				fmt.Sprintf("-m recent --name %s --rcheck --seconds %d --reap -j %s", sep, r.p.AffinitySeconds, sep))
		}
	}
	for i, e := range endpoints {
		rule := comment(name, "->", e.Addr.String())
		if left := len(endpoints) - i; left > 1 {
			rule += fmt.Sprintf("-m statistic --mode random --probability %.10f ", 1/float64(left))
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
		note, sep := comment(r.p.Name.String()), r.endpointChain(e)
		affinity := ""
		if r.p.AffinitySeconds > 0 {
			affinity = "-m recent --name " + sep + " --set "
		}
		r.own(sep, []string{
			// A pod that reaches itself would otherwise see an answer that never left it.
			note + "-s " + single(e.Addr.Addr()) + " -j KUBE-MARK-MASQ",
			note + affinity + "-m " + r.proto + " -p " + r.proto + " -j DNAT --to-destination " + e.Addr.String(),
		})
	}
}
