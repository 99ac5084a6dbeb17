package serving

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// Group is what slices of one address type and one set of ports hold together.
type Group struct {
	AddressType discoveryv1.AddressType
	Ports       []discoveryv1.EndpointPort
	Endpoints   []discoveryv1.Endpoint
}

// Key is equal for groups whose endpoints may share a slice.
func (g *Group) Key() string { return groupKey(g.AddressType, g.Ports) }

func groupKey(t discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = fmt.Sprintf("%q %d %s %q", ptr.Deref(p.Name, ""), ptr.Deref(p.Port, 0), ptr.Deref(p.Protocol, corev1.ProtocolTCP), ptr.Deref(p.AppProtocol, ""))
	}
	slices.Sort(names)
	return string(t) + "\n" + strings.Join(names, "\n")
}

// Plan is what to write. Slices to create have no name yet; slices to update are copies.
type Plan struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Arrange packs the groups into slices of at most most endpoints. existing slices keep the endpoints that they have
// where those are still wanted; new ones go first into slices that change anyway, then into the fullest one that has room
// for all, and only then into new slices. Slices to delete are turned into ones to create where both are wanted. shape
// writes labels, annotations and owner into a slice; one whose shape is not as it should be is updated.
// An empty group keeps one empty slice.
func Arrange(existing []*discoveryv1.EndpointSlice, groups []Group, most int, shape func(*discoveryv1.EndpointSlice)) Plan {
	byKey := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range existing {
		k := groupKey(s.AddressType, s.Ports)
		byKey[k] = append(byKey[k], s)
	}
	var p Plan
	for i := range groups {
		g := &groups[i]
		p.pack(byKey[g.Key()], g, most, shape)
		delete(byKey, g.Key())
	}
	for _, unwanted := range byKey {
		p.Delete = append(p.Delete, unwanted...)
	}
	p.reuse(shape)
	return p
}

// draft is a slice while endpoints are put into it.
type draft struct {
	was     *discoveryv1.EndpointSlice
	is      *discoveryv1.EndpointSlice
	changed bool
}

func (p *Plan) pack(existing []*discoveryv1.EndpointSlice, g *Group, most int, shape func(*discoveryv1.EndpointSlice)) {
	wanted := make(map[endpointKey]*discoveryv1.Endpoint, len(g.Endpoints))
	order := make([]endpointKey, 0, len(g.Endpoints))
	for i := range g.Endpoints {
		k := keyOf(&g.Endpoints[i])
		if wanted[k] == nil {
			order = append(order, k)
		}
		wanted[k] = &g.Endpoints[i]
	}
	slices.SortFunc(existing, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	drafts := make([]*draft, len(existing))
	for i, s := range existing {
		drafts[i] = retain(s, wanted, most, shape)
	}
	var rest []discoveryv1.Endpoint
	for _, k := range order {
		if e := wanted[k]; e != nil {
			rest = append(rest, *e)
		}
	}
	rest = fill(drafts, rest, most)
	for len(rest) > 0 {
		n := min(len(rest), most)
		p.Create = append(p.Create, fresh(g, rest[:n], shape))
		rest = rest[n:]
	}
	p.sort(drafts, g, shape)
}

// retain keeps those endpoints of a slice that are wanted, in their newest form, and takes them out of wanted.
func retain(s *discoveryv1.EndpointSlice, wanted map[endpointKey]*discoveryv1.Endpoint, most int, shape func(*discoveryv1.EndpointSlice)) *draft {
	d := &draft{was: s, is: s.DeepCopy()}
	shape(d.is)
	d.is.Endpoints = make([]discoveryv1.Endpoint, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		k := keyOf(&s.Endpoints[i])
		if e := wanted[k]; e != nil && len(d.is.Endpoints) < most {
			d.is.Endpoints = append(d.is.Endpoints, *e)
			delete(wanted, k)
		}
	}
	d.changed = !apiequality.Semantic.DeepEqual(d.was, d.is)
	return d
}

// fill puts endpoints into the room that slices have, and returns those that are left.
func fill(drafts []*draft, rest []discoveryv1.Endpoint, most int) []discoveryv1.Endpoint {
	for _, d := range drafts {
		if d.changed && len(d.is.Endpoints) > 0 {
			rest = d.add(rest, most)
		}
	}
	for _, d := range drafts {
		if d.changed {
			rest = d.add(rest, most)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	last := len(rest) % most // what would not make a full slice
	if last == 0 {
		return rest
	}
	var best *draft
	for _, d := range drafts {
		if !d.changed && len(d.is.Endpoints)+last <= most && (best == nil || len(d.is.Endpoints) > len(best.is.Endpoints)) {
			best = d
		}
	}
	if best != nil {
		best.add(rest[len(rest)-last:], most)
		rest = rest[:len(rest)-last]
	}
	return rest
}

func (d *draft) add(from []discoveryv1.Endpoint, most int) (rest []discoveryv1.Endpoint) {
	n := min(len(from), most-len(d.is.Endpoints))
	if n <= 0 {
		return from
	}
	d.is.Endpoints = append(d.is.Endpoints, from[:n]...)
	d.changed = true
	return from[n:]
}

// sort puts the drafts of a group into the plan. Empty slices go, but for one when the group has nothing else.
func (p *Plan) sort(drafts []*draft, g *Group, shape func(*discoveryv1.EndpointSlice)) {
	needsEmpty := len(g.Endpoints) == 0
	for _, d := range drafts {
		switch {
		case len(d.is.Endpoints) == 0 && !needsEmpty:
			p.Delete = append(p.Delete, d.was)
			continue
		case len(d.is.Endpoints) == 0:
			needsEmpty = false
		}
		if d.changed {
			p.Update = append(p.Update, d.is)
		}
	}
	if needsEmpty {
		p.Create = append(p.Create, fresh(g, nil, shape))
	}
}

func fresh(g *Group, endpoints []discoveryv1.Endpoint, shape func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: g.AddressType, Ports: slices.Clone(g.Ports), Endpoints: slices.Clone(endpoints)}
	if s.Endpoints == nil {
		s.Endpoints = []discoveryv1.Endpoint{}
	}
	shape(s)
	return s
}

// reuse turns a deletion and a creation of one address type into one update.
func (p *Plan) reuse(shape func(*discoveryv1.EndpointSlice)) {
	slices.SortFunc(p.Delete, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	p.Create = slices.DeleteFunc(p.Create, func(c *discoveryv1.EndpointSlice) bool {
		i := slices.IndexFunc(p.Delete, func(d *discoveryv1.EndpointSlice) bool { return d.AddressType == c.AddressType })
		if i < 0 {
			return false
		}
		u := p.Delete[i].DeepCopy()
		u.Ports, u.Endpoints = c.Ports, c.Endpoints
		shape(u)
		p.Update = append(p.Update, u)
		p.Delete = slices.Delete(p.Delete, i, i+1)
		return true
	})
}

type endpointKey struct {
	address string
	uid     types.UID
}

func keyOf(e *discoveryv1.Endpoint) endpointKey {
	var k endpointKey
	if len(e.Addresses) > 0 {
		k.address = e.Addresses[0]
	}
	if e.TargetRef != nil {
		k.uid = e.TargetRef.UID
	}
	return k
}
