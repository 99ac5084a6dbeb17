package plan

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"hyperkube/internal/network/apply"
)

// Chain names a chain of a table.
type Chain struct{ Table, Name string }

// The chains that all ports share.
var (
	NatServices    = Chain{"nat", "KUBE-SERVICES"}
	NatNodePorts   = Chain{"nat", "KUBE-NODEPORTS"}
	natPostrouting = Chain{"nat", "KUBE-POSTROUTING"}
	natMark        = Chain{"nat", "KUBE-MARK-MASQ"}
	natCanary      = Chain{"nat", Canary}

	filterServices  = Chain{"filter", "KUBE-SERVICES"}
	filterExternal  = Chain{"filter", "KUBE-EXTERNAL-SERVICES"}
	filterForward   = Chain{"filter", "KUBE-FORWARD"}
	filterNodePorts = Chain{"filter", "KUBE-NODEPORTS"}
	filterFirewall  = Chain{"filter", "KUBE-PROXY-FIREWALL"}
	filterLocalnet  = Chain{"filter", "KUBE-FIREWALL"}
	filterCanary    = Chain{"filter", Canary}
)

// Canary is a chain, to which nothing leads, whose one rule is there only to be missed when somebody flushes the tables.
const Canary = "KUBE-PROXY-CANARY"

const ctNew = "-m conntrack --ctstate NEW "

// Jumps leads from the built-in chains of a table to those of the proxy, written as iptables-save prints them.
func Jumps(table string) []apply.Jump {
	portals := `-m comment --comment "kubernetes service portals"`
	if table == "nat" {
		return []apply.Jump{
			{From: "PREROUTING", To: NatServices.Name, Match: portals},
			{From: "OUTPUT", To: NatServices.Name, Match: portals},
			{From: "POSTROUTING", To: natPostrouting.Name, Match: `-m comment --comment "kubernetes postrouting rules"`},
		}
	}
	external := ctNew + `-m comment --comment "kubernetes externally-visible service portals"`
	firewall := ctNew + `-m comment --comment "kubernetes load balancer firewall"`
	return []apply.Jump{
		{From: "INPUT", To: filterLocalnet.Name},
		{From: "OUTPUT", To: filterLocalnet.Name},
		{From: "INPUT", To: filterFirewall.Name, Match: firewall},
		{From: "OUTPUT", To: filterFirewall.Name, Match: firewall},
		{From: "FORWARD", To: filterFirewall.Name, Match: firewall},
		{From: "INPUT", To: filterNodePorts.Name, Match: `-m comment --comment "kubernetes health check service ports"`},
		{From: "INPUT", To: filterExternal.Name, Match: external},
		{From: "FORWARD", To: filterExternal.Name, Match: external},
		{From: "FORWARD", To: filterForward.Name, Match: `-m comment --comment "kubernetes forwarding rules"`},
		{From: "FORWARD", To: filterServices.Name, Match: ctNew + portals},
		{From: "OUTPUT", To: filterServices.Name, Match: ctNew + portals},
	}
}

// Tables that the proxy has rules in.
func Tables() []string { return []string{"filter", "nat"} }

// SharedChains of a table, in a fixed order.
func SharedChains(table string) []string {
	if table == "nat" {
		return []string{NatServices.Name, NatNodePorts.Name, natPostrouting.Name, natMark.Name, natCanary.Name}
	}
	return []string{filterServices.Name, filterExternal.Name, filterForward.Name, filterNodePorts.Name,
		filterFirewall.Name, filterLocalnet.Name, filterCanary.Name}
}

// Owned tells whether a chain of the nat table belongs to one port of one Service.
func Owned(chain string) bool {
	for _, p := range []string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-"} {
		if strings.HasPrefix(chain, p) {
			return true
		}
	}
	return false
}

// hash names a port, or a port's endpoint, in the 16 characters that fit into a chain's name.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return base32.StdEncoding.EncodeToString(h.Sum(nil))[:16]
}

// LocalDetector recognises traffic that comes from pods of this node or cluster. The zero value recognises nothing.
type LocalDetector struct {
	// CIDR is the range that pods' addresses are from; Interface the one their packets come in by, with a
	// trailing "+" for a prefix of names. At most one is set.
	CIDR      netip.Prefix
	Interface string
}

func (d LocalDetector) known() bool { return d.CIDR.IsValid() || d.Interface != "" }

func (d LocalDetector) match(not string) string {
	if d.Interface != "" {
		return not + "-i " + d.Interface
	}
	return not + "-s " + d.CIDR.String()
}

// Config is what all rules depend on.
type Config struct {
	IPv6 bool
	Node Node
	// NodeIPs are the node's addresses of this family: a load balancer's source ranges that hold one let the node itself in.
	NodeIPs []netip.Addr
	// NodePortIPs are the addresses at which node ports are served; empty means all local ones.
	NodePortIPs []netip.Addr
	// NoNodePorts serves none, for a family of which no address was selected.
	NoNodePorts   bool
	MasqueradeAll bool
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for the node's address as source.
	MasqueradeBit int
	// RandomFully makes masquerading pick random ports, where the tools know how.
	RandomFully bool
	// LocalhostNodePorts serves node ports at 127.0.0.1 too.
	LocalhostNodePorts bool
	Local              LocalDetector
	// LiberalTCP lets packets through that connection tracking holds for invalid.
	LiberalTCP bool
	// Brief leaves what only explains out of ports' own chains. The kernel reads all rules of a table for each change of one,
	// which takes a third less without.
	Brief bool
}

func (c *Config) mark() string { return fmt.Sprintf("%#x", uint32(1)<<c.MasqueradeBit) }

func (c *Config) loopback() string {
	if c.IPv6 {
		return "::1/128"
	}
	return "127.0.0.0/8"
}

// Static gives the rules of the shared chains that do not depend on Services. Those of NatServices come
// after all others of the chain.
func (c *Config) Static() map[Chain][]string {
	mark := c.mark() + "/" + c.mark()
	masquerade := `-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE`
	if c.RandomFully {
		masquerade += " --random-fully"
	}
	rules := map[Chain][]string{
		natMark: {"-j MARK --set-xmark " + mark},
		natPostrouting: {
			"-m mark ! --mark " + mark + " -j RETURN",
			// Or the packet would be masqueraded again if it came by here a second time, out of a tunnel.
			"-j MARK --set-xmark " + c.mark() + "/0x0",
			masquerade,
		},
		filterForward: {
			`-m comment --comment "kubernetes forwarding rules" -m mark --mark ` + mark + ` -j ACCEPT`,
			`-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
		},
		NatServices:  c.nodePortJumps(),
		natCanary:    {"-j RETURN"},
		filterCanary: {"-j RETURN"},
	}
	if !c.LiberalTCP {
		// A packet that connection tracking cannot place would reach the other side with the pod's own
		// address and make it reset the connection.
		rules[filterForward] = append([]string{"-m conntrack --ctstate INVALID -j DROP"}, rules[filterForward]...)
	}
	if !c.IPv6 {
		rules[filterLocalnet] = []string{`! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`}
	}
	return rules
}

func (c *Config) nodePortJumps() []string {
	if c.NoNodePorts {
		return nil
	}
	note := `-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" `
	if len(c.NodePortIPs) == 0 {
		except := ""
		if c.IPv6 || !c.LocalhostNodePorts {
			except = "! -d " + c.loopback() + " "
		}
		return []string{except + note + "-m addrtype --dst-type LOCAL -j " + NatNodePorts.Name}
	}
	var out []string
	for _, ip := range c.NodePortIPs {
		if ip.IsLoopback() && (c.IPv6 || !c.LocalhostNodePorts) {
			continue
		}
		out = append(out, "-d "+single(ip)+" "+note+"-j "+NatNodePorts.Name)
	}
	return out
}

func single(ip netip.Addr) string { return ip.String() + "/" + strconv.Itoa(ip.BitLen()) }
