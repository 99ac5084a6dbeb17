package plan

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Endpoint is one place that serves a port.
type Endpoint struct {
	Addr                        netip.AddrPort
	Ready, Serving, Terminating bool
	// Local tells that it is on this node.
	Local bool
	// Zones and Nodes are the hints for whom the endpoint is.
	Zones, Nodes []string
}

// Node is what decisions depend on about the node that the proxy runs on.
type Node struct {
	Name string
	// Zone is the label topology.kubernetes.io/zone; empty if there is none.
	Zone string
}

// EndpointsOf gives the endpoints of one port from all slices of its Service, without duplicates and in the
// order of their addresses.
func EndpointsOf(p *Port, all []*discoveryv1.EndpointSlice, n Node) []Endpoint {
	ipv6 := p.ClusterIP.Is6()
	byAddr := map[netip.AddrPort]Endpoint{}
	for _, s := range all {
		if (s.AddressType == discoveryv1.AddressTypeIPv6) != ipv6 || s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		number, ok := portNumber(p, s)
		if !ok {
			continue
		}
		for i := range s.Endpoints {
			e, ok := endpointOf(&s.Endpoints[i], number, n)
			if !ok {
				continue
			}
			if other, dup := byAddr[e.Addr]; dup && rank(other) >= rank(e) {
				continue
			}
			byAddr[e.Addr] = e
		}
	}
	out := make([]Endpoint, 0, len(byAddr))
	for _, e := range byAddr {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	return out
}

// rank orders what slices say of one endpoint while it moves between them: the better news is the newer.
func rank(e Endpoint) int {
	switch {
	case e.Ready:
		return 2
	case e.Serving:
		return 1
	}
	return 0
}

func portNumber(p *Port, s *discoveryv1.EndpointSlice) (uint16, bool) {
	for _, sp := range s.Ports {
		name, protocol := "", corev1.ProtocolTCP
		if sp.Name != nil {
			name = *sp.Name
		}
		if sp.Protocol != nil {
			protocol = *sp.Protocol
		}
		if name == p.Name.Port && protocol == p.Protocol && sp.Port != nil {
			return uint16(*sp.Port), true
		}
	}
	return 0, false
}

func endpointOf(e *discoveryv1.Endpoint, port uint16, n Node) (Endpoint, bool) {
	if len(e.Addresses) == 0 {
		return Endpoint{}, false
	}
	ip, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return Endpoint{}, false
	}
	is := func(b *bool, unset bool) bool {
		if b == nil {
			return unset
		}
		return *b
	}
	out := Endpoint{
		Addr:        netip.AddrPortFrom(ip.Unmap(), port),
		Ready:       is(e.Conditions.Ready, true),
		Terminating: is(e.Conditions.Terminating, false),
		Local:       e.NodeName != nil && *e.NodeName == n.Name,
	}
	out.Serving = is(e.Conditions.Serving, out.Ready)
	if e.Hints != nil {
		for _, z := range e.Hints.ForZones {
			out.Zones = append(out.Zones, z.Name)
		}
		for _, h := range e.Hints.ForNodes {
			out.Nodes = append(out.Nodes, h.Name)
		}
	}
	return out, true
}

// Selection is where the traffic of one port may go.
type Selection struct {
	// Cluster is for traffic that may leave the node, Local for traffic that may not.
	Cluster, Local []Endpoint
	// Any tells that some node has an endpoint that can answer.
	Any bool
}

// Select picks the endpoints. Ready ones are used, or if there are none, those that still serve while they
// terminate (KEP-1669). Hints narrow Cluster down (KEP-2433, KEP-4444) as long as every ready endpoint carries them
// and they leave something for this node.
func Select(all []Endpoint, n Node) Selection {
	var s Selection
	var ready, localReady, draining, localDraining []Endpoint
	for _, e := range all {
		switch {
		case e.Ready:
			ready = append(ready, e)
			if e.Local {
				localReady = append(localReady, e)
			}
		case e.Serving && e.Terminating:
			draining = append(draining, e)
			if e.Local {
				localDraining = append(localDraining, e)
			}
		}
	}
	s.Any = len(ready)+len(draining) > 0
	s.Cluster = hinted(ready, n)
	if len(ready) == 0 {
		s.Cluster = draining
	}
	s.Local = localReady
	if len(localReady) == 0 {
		s.Local = localDraining
	}
	return s
}

func hinted(ready []Endpoint, n Node) []Endpoint {
	for _, by := range []struct {
		want  string
		hints func(Endpoint) []string
	}{
		{n.Name, func(e Endpoint) []string { return e.Nodes }},
		{n.Zone, func(e Endpoint) []string { return e.Zones }},
	} {
		if by.want == "" {
			continue
		}
		var mine []Endpoint
		complete := true
		for _, e := range ready {
			hints := by.hints(e)
			if len(hints) == 0 {
				complete = false
				break
			}
			if slices.Contains(hints, by.want) {
				mine = append(mine, e)
			}
		}
		if complete && len(mine) > 0 {
			return mine
		}
	}
	return ready
}

func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
