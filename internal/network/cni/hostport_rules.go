package cni

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"hyperkube/internal/network/apply"
)

// PortMapping is one entry of the runtime's portMappings capability.
type PortMapping struct {
	HostPort      int32  `json:"hostPort"`
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// The chains of host ports are named as the CNI project's portmap plugin names them.
const (
	chainDNAT  = "CNI-HOSTPORT-DNAT"
	chainMark  = "CNI-HOSTPORT-SETMARK"
	chainMasq  = "CNI-HOSTPORT-MASQ"
	chainGuard = "CNI-HOSTPORT-GUARD"
	podPrefix  = "CNI-DN-"
	mark       = "0x2000/0x2000"
)

var natJumps = []apply.Jump{
	{From: "PREROUTING", To: chainDNAT, Match: "-m addrtype --dst-type LOCAL"},
	{From: "OUTPUT", To: chainDNAT, Match: "-m addrtype --dst-type LOCAL"},
	{From: "POSTROUTING", To: chainMasq, Match: `-m comment --comment "CNI portfwd requiring masquerade"`},
}

var filterJumps = []apply.Jump{{From: "INPUT", To: chainGuard}}

// podChain is the chain with one pod's translations.
func podChain(network, containerID string) string {
	sum := sha512.Sum512([]byte(network + containerID))
	return podPrefix + hex.EncodeToString(sum[:])[:20]
}

// valid tells what is wrong with a mapping, nil if nothing is.
func (p PortMapping) valid() error {
	switch strings.ToLower(p.Protocol) {
	case "tcp", "udp", "sctp":
	default:
		return fmt.Errorf("host port %d: unknown protocol %q", p.HostPort, p.Protocol)
	}
	if p.HostPort < 1 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535 {
		return fmt.Errorf("host port %d to container port %d: ports are 1 to 65535", p.HostPort, p.ContainerPort)
	}
	if p.HostIP != "" {
		if _, err := netip.ParseAddr(p.HostIP); err != nil {
			return fmt.Errorf("host port %d: host address: %w", p.HostPort, err)
		}
	}
	return nil
}

// hostAddr is the address the port is bound to; the unspecified one means all and gives false.
func (p PortMapping) hostAddr() (netip.Addr, bool) {
	ip, err := netip.ParseAddr(p.HostIP)
	if err != nil || ip.IsUnspecified() {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

// hostPortsOf gives those of the attachment's mappings that concern a family, and the pod's address in it.
func hostPortsOf(a *Attachment, family apply.Family) ([]PortMapping, netip.Prefix, bool) {
	for _, p := range a.Addresses {
		if p.Addr().Is4() != (family == apply.IPv4) {
			continue
		}
		var out []PortMapping
		for _, m := range a.HostPorts {
			ip, bound := m.hostAddr()
			if unspecified, err := netip.ParseAddr(m.HostIP); err == nil && !bound && unspecified.Is4() != p.Addr().Is4() {
				continue
			}
			if !bound || ip.Is4() == p.Addr().Is4() {
				out = append(out, m)
			}
		}
		return out, p, len(out) > 0
	}
	return nil, netip.Prefix{}, false
}

// podRules gives the lines of a pod's own chain and the rules that lead into it, the latter without "-A ".
func podRules(network string, a *Attachment, family apply.Family) (chain []string, entries []string) {
	mappings, addr, ok := hostPortsOf(a, family)
	if !ok {
		return nil, nil
	}
	name := podChain(network, a.ContainerID)
	for _, m := range mappings {
		proto := strings.ToLower(m.Protocol)
		match := fmt.Sprintf("-p %s -m %s --dport %d", proto, proto, m.HostPort)
		if ip, bound := m.hostAddr(); bound {
			match = "-d " + single(ip) + " " + match
		}
		comment := fmt.Sprintf(`-m comment --comment "dnat name: \"%s\" id: \"%s\""`, network, a.ContainerID)
		entries = append(entries, fmt.Sprintf("%s %s %s -j %s", chainDNAT, match, comment, name))
		// Pods of this node, the pod itself among them, would otherwise get answers from an address they never asked.
		chain = append(chain, fmt.Sprintf("-A %s -s %v %s -j %s", name, addr.Masked(), match, chainMark))
		if family == apply.IPv4 {
			chain = append(chain, fmt.Sprintf("-A %s -s 127.0.0.1/32 %s -j %s", name, match, chainMark))
		}
		to := netip.AddrPortFrom(addr.Addr(), uint16(m.ContainerPort))
		chain = append(chain, fmt.Sprintf("-A %s %s -j DNAT --to-destination %v", name, match, to))
	}
	return chain, entries
}

func single(ip netip.Addr) string { return netip.PrefixFrom(ip, ip.BitLen()).String() }

// baseRules gives the restore text of the shared chains. The guard keeps what comes from outside away from
// 127.0.0.0/8, which route_localnet would let in.
func baseRules(family apply.Family, savedNat, savedFilter []byte, randomFully bool) string {
	var b strings.Builder
	masquerade := "MASQUERADE"
	if randomFully {
		masquerade += " --random-fully"
	}
	if family == apply.IPv4 {
		fmt.Fprintf(&b, "*filter\n:%s - [0:0]\n", chainGuard)
		fmt.Fprintf(&b, "-A %s ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n", chainGuard)
		writeLines(&b, apply.MissingJumps(savedFilter, filterJumps))
		b.WriteString("COMMIT\n")
	}
	b.WriteString("*nat\n")
	if !strings.Contains(string(savedNat), ":"+chainDNAT+" ") { // others' rules in it stay
		fmt.Fprintf(&b, ":%s - [0:0]\n", chainDNAT)
	}
	fmt.Fprintf(&b, ":%s - [0:0]\n:%s - [0:0]\n", chainMark, chainMasq)
	fmt.Fprintf(&b, "-A %s -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark %s\n", chainMark, mark)
	fmt.Fprintf(&b, "-A %s -m mark --mark %s -j %s\n", chainMasq, mark, masquerade)
	writeLines(&b, apply.MissingJumps(savedNat, natJumps))
	return b.String()
}

func writeLines(b *strings.Builder, lines []string) {
	for _, l := range lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
}

// ownEntries finds the rules of chainDNAT that belong to a network, in the output of iptables-save, and the chains they lead to.
func ownEntries(saved []byte, network string) (rules, chains []string) {
	tag := fmt.Sprintf(`"dnat name: \"%s\" id: `, network)
	seen := map[string]bool{}
	for _, line := range strings.Split(string(saved), "\n") {
		rule, ok := strings.CutPrefix(line, "-A "+chainDNAT+" ")
		if !ok || !strings.Contains(rule, tag) {
			continue
		}
		rules = append(rules, chainDNAT+" "+rule)
		if i := strings.LastIndex(rule, "-j "); i >= 0 && !seen[rule[i+3:]] {
			seen[rule[i+3:]] = true
			chains = append(chains, rule[i+3:])
		}
	}
	return rules, chains
}
