package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// schemaVersion is the version of the specification that names follow.
const schemaVersion = "1.1.0"

// zone answers for the cluster's domain.
type zone struct {
	domain string // with the final dot
	store  store
	// self are the server's own addresses, for the zone's NS record.
	self func() []netip.Addr
}

// found is what the zone knows about a name.
type found struct {
	exists  bool
	records []dns.RR
	extra   []dns.RR
	// alias is a name elsewhere that the records lead to, to be looked up with the question's type.
	alias string
}

// below gives the labels of a name in the domain, from the left; false for a name elsewhere. The name is in lower case.
func (z *zone) below(name string) ([]string, bool) {
	if name == z.domain {
		return nil, true
	}
	rest, ok := strings.CutSuffix(name, "."+z.domain)
	if !ok {
		return nil, false
	}
	return strings.Split(rest, "."), true
}

// lookup finds the records of a type. name is in lower case, and labels are its labels below the domain.
func (z *zone) lookup(name string, labels []string, qtype uint16) found {
	n := len(labels)
	switch {
	case n == 0:
		return z.apex(name, qtype)
	case n == 1 && labels[0] == "dns-version":
		return z.text(name, qtype)
	case labels[n-1] == "svc":
		return z.inServices(name, labels[:n-1], qtype)
	case labels[n-1] == "pod":
		return z.inPods(name, labels[:n-1], qtype)
	case labels[n-1] == "dns" && n == 1:
		return found{exists: true}
	case labels[n-1] == "dns" && n == 2 && labels[0] == "ns":
		return found{exists: true, records: addressRecords(name, qtype, z.self())}
	}
	return found{}
}

func (z *zone) apex(name string, qtype uint16) found {
	f := found{exists: true}
	switch qtype {
	case dns.TypeSOA:
		f.records = []dns.RR{z.soa()}
	case dns.TypeNS:
		ns := "ns.dns." + z.domain
		f.records = []dns.RR{&dns.NS{Hdr: header(name, dns.TypeNS), Ns: ns}}
		f.extra = append(addressRecords(ns, dns.TypeA, z.self()), addressRecords(ns, dns.TypeAAAA, z.self())...)
	}
	return f
}

// soa is what empty answers carry. Its serial never changes: nobody transfers the zone.
func (z *zone) soa() dns.RR {
	return &dns.SOA{
		Hdr: header(z.domain, dns.TypeSOA), Ns: "ns.dns." + z.domain, Mbox: "hostmaster." + z.domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: uint32(TTL.Seconds()),
	}
}

func (z *zone) text(name string, qtype uint16) found {
	f := found{exists: true}
	if qtype == dns.TypeTXT {
		f.records = []dns.RR{&dns.TXT{Hdr: header(name, dns.TypeTXT), Txt: []string{schemaVersion}}}
	}
	return f
}

// inServices answers for names below svc: [endpoint.][_port._proto.]service.namespace.
func (z *zone) inServices(name string, labels []string, qtype uint16) found {
	n := len(labels)
	if n == 0 {
		return found{exists: true}
	}
	namespace := labels[n-1]
	if !z.store.namespace(namespace) {
		return found{}
	}
	if n == 1 {
		return found{exists: true}
	}
	s, ok := z.store.service(namespace, labels[n-2])
	if !ok {
		return found{}
	}
	q := serviceQuery{zone: z, s: s, base: labels[n-2] + "." + namespace + ".svc." + z.domain, name: name, qtype: qtype}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		if n > 2 {
			return found{}
		}
		return q.external()
	}
	switch left := labels[:n-2]; {
	case len(left) == 0:
		return q.service()
	case len(left) == 1 && strings.HasPrefix(left[0], "_"):
		return found{exists: q.hasProtocol(left[0])}
	case len(left) == 1:
		return q.endpoint(left[0])
	case len(left) == 2 && strings.HasPrefix(left[0], "_") && strings.HasPrefix(left[1], "_"):
		return q.ports(left[0][1:], left[1][1:])
	}
	return found{}
}

// inPods answers for 10-0-0-1.namespace. As upstream's default does it, the address is taken from the name.
func (z *zone) inPods(name string, labels []string, qtype uint16) found {
	n := len(labels)
	if n == 0 {
		return found{exists: true}
	}
	if n > 2 || !z.store.namespace(labels[n-1]) {
		return found{}
	}
	if n == 1 {
		return found{exists: true}
	}
	ip, ok := dashed(labels[0])
	if !ok {
		return found{}
	}
	return found{exists: true, records: addressRecords(name, qtype, []netip.Addr{ip})}
}

// dashed reads an address whose dots or colons are dashes.
func dashed(label string) (netip.Addr, bool) {
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		if ip, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ".")); err == nil {
			return ip, true
		}
	}
	ip, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ":"))
	return ip, err == nil
}

// serviceQuery is a question about one Service.
type serviceQuery struct {
	*zone
	s          *corev1.Service
	base, name string // the Service's name and the name asked for
	qtype      uint16
}

func (q *serviceQuery) external() found {
	target := strings.ToLower(dns.Fqdn(q.s.Spec.ExternalName))
	return found{
		exists: true, alias: target,
		records: []dns.RR{&dns.CNAME{Hdr: header(q.name, dns.TypeCNAME), Target: target}},
	}
}

// service answers for the Service's own name: its addresses, or those of a headless Service's endpoints.
func (q *serviceQuery) service() found {
	if ips := clusterIPs(q.s); len(ips) > 0 {
		if q.qtype == dns.TypeSRV {
			return q.ports("", "")
		}
		return found{exists: true, records: addressRecords(q.name, q.qtype, ips)}
	}
	f := found{}
	var ips []netip.Addr
	for _, e := range q.endpoints() {
		f.exists = true
		if !slices.Contains(ips, e.ip) {
			ips = append(ips, e.ip)
		}
	}
	if q.qtype == dns.TypeSRV {
		return q.ports("", "")
	}
	f.records = addressRecords(q.name, q.qtype, ips)
	return f
}

// endpoint answers for one endpoint's name: its hostname, or its address with dashes.
func (q *serviceQuery) endpoint(label string) found {
	if len(clusterIPs(q.s)) > 0 {
		return found{}
	}
	f := found{}
	var ips []netip.Addr
	for _, e := range q.endpoints() {
		if e.label == label {
			f.exists = true
			if !slices.Contains(ips, e.ip) {
				ips = append(ips, e.ip)
			}
		}
	}
	f.records = addressRecords(q.name, q.qtype, ips)
	return f
}

// ports answers for _port._protocol names with SRV records; empty strings match all.
func (q *serviceQuery) ports(port, protocol string) found {
	f := found{}
	type target struct {
		name string
		port uint16
	}
	var targets []target
	add := func(name string, number int32, ips ...netip.Addr) {
		f.exists = true
		t := target{name, uint16(number)}
		if q.qtype != dns.TypeSRV || slices.Contains(targets, t) {
			return
		}
		targets = append(targets, t)
		f.extra = append(f.extra, addressRecords(name, dns.TypeA, ips)...)
		f.extra = append(f.extra, addressRecords(name, dns.TypeAAAA, ips)...)
	}
	matches := func(name, proto string) bool {
		return (port == "" || port == name) && (protocol == "" || strings.EqualFold(protocol, proto))
	}
	if ips := clusterIPs(q.s); len(ips) > 0 {
		for _, p := range q.s.Spec.Ports {
			if matches(p.Name, protocolName(p.Protocol)) {
				add(q.base, p.Port, ips...)
			}
		}
	} else {
		for _, e := range q.endpoints() {
			for _, p := range e.ports {
				if p.Port != nil && matches(value(p.Name), protocolName(value(p.Protocol))) {
					add(e.label+"."+q.base, *p.Port, e.ip)
				}
			}
		}
	}
	for _, t := range targets {
		f.records = append(f.records, &dns.SRV{
			Hdr: header(q.name, dns.TypeSRV), Weight: uint16(max(1, 100/len(targets))), Port: t.port, Target: t.name,
		})
	}
	return f
}

func (q *serviceQuery) hasProtocol(label string) bool {
	for _, p := range q.s.Spec.Ports {
		if strings.EqualFold("_"+protocolName(p.Protocol), label) {
			return true
		}
	}
	return false
}

// endpoint is one address of a headless Service with the name that it has there.
type endpoint struct {
	ip    netip.Addr
	label string
	ports []discoveryv1.EndpointPort
}

// endpoints are the ready ones. Those of Services that publish the others too are marked as ready by the controller, and
// are looked at here as well for slices made by hand.
func (q *serviceQuery) endpoints() []endpoint {
	var out []endpoint
	for _, s := range q.store.slices(q.s.Namespace, q.s.Name) {
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if !q.s.Spec.PublishNotReadyAddresses && e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, a := range e.Addresses {
				if ip, err := netip.ParseAddr(a); err == nil {
					out = append(out, endpoint{ip.Unmap(), endpointLabel(e, ip.Unmap()), s.Ports})
				}
			}
		}
	}
	return out
}

func endpointLabel(e *discoveryv1.Endpoint, ip netip.Addr) string {
	if e.Hostname != nil && *e.Hostname != "" {
		return *e.Hostname
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
}

// reverse gives the names of an address: of the Service that it belongs to, or of the endpoints of headless Services.
func (z *zone) reverse(name string, ip netip.Addr) []dns.RR {
	var out []dns.RR
	add := func(target string) {
		out = append(out, &dns.PTR{Hdr: header(name, dns.TypePTR), Ptr: target + ".svc." + z.domain})
	}
	for _, s := range z.store.servicesAt(ip) {
		add(s.Name + "." + s.Namespace)
	}
	if out != nil {
		return out
	}
	for _, sl := range z.store.slicesAt(ip) {
		service := sl.Labels[discoveryv1.LabelServiceName]
		s, ok := z.store.service(sl.Namespace, service)
		if !ok || len(clusterIPs(s)) > 0 {
			continue
		}
		for i := range sl.Endpoints {
			e := &sl.Endpoints[i]
			if slices.Contains(e.Addresses, ip.String()) && (s.Spec.PublishNotReadyAddresses || e.Conditions.Ready == nil || *e.Conditions.Ready) {
				add(endpointLabel(e, ip) + "." + service + "." + sl.Namespace)
			}
		}
	}
	return out
}

// reverseAddress reads 4.3.2.1.in-addr.arpa. and its IPv6 counterpart.
func reverseAddress(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		parts := strings.Split(rest, ".")
		slices.Reverse(parts)
		ip, err := netip.ParseAddr(strings.Join(parts, "."))
		return ip, err == nil && ip.Is4()
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		v, err := strconv.ParseUint(rest[62-2*i:63-2*i], 16, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		b[i/2] |= byte(v) << (4 * (1 - i%2))
	}
	return netip.AddrFrom16(b), true
}

func addressRecords(name string, qtype uint16, ips []netip.Addr) []dns.RR {
	var out []dns.RR
	for _, ip := range ips {
		switch {
		case qtype == dns.TypeA && ip.Is4():
			out = append(out, &dns.A{Hdr: header(name, dns.TypeA), A: ip.AsSlice()})
		case qtype == dns.TypeAAAA && ip.Is6():
			out = append(out, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	return out
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: uint32(TTL.Seconds())}
}

func protocolName(p corev1.Protocol) string {
	if p == "" {
		return "tcp"
	}
	return strings.ToLower(fmt.Sprint(p))
}

func value[T any](p *T) T {
	var none T
	if p == nil {
		return none
	}
	return *p
}
