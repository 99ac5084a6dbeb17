package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/network/apply"
)

// apply sets the kernel's limits. The count of connections is only ever raised.
func (c Conntrack) apply(log *slog.Logger) error {
	const base = "net/netfilter/nf_conntrack_"
	var errs []error
	if c.MaxPerCore > 0 {
		want := max(c.MaxPerCore*runtime.NumCPU(), c.Min)
		if have, err := os.ReadFile("/proc/sys/" + base + "max"); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(have))); err == nil && n >= want {
				want = n
			}
		}
		if err := apply.Sysctl(base+"max", strconv.Itoa(want)); err != nil {
			// In a network namespace of its own a node shares its host's limit and may not set it.
			log.Warn("cannot raise the number of tracked connections", "err", err)
		}
	}
	seconds := func(name string, d time.Duration) {
		if d > 0 {
			errs = append(errs, apply.Sysctl(base+name, strconv.Itoa(int(d/time.Second))))
		}
	}
	seconds("tcp_timeout_established", c.TCPEstablishedTimeout)
	seconds("tcp_timeout_close_wait", c.TCPCloseWaitTimeout)
	seconds("udp_timeout", c.UDPTimeout)
	seconds("udp_timeout_stream", c.UDPStreamTimeout)
	if c.TCPBeLiberal {
		errs = append(errs, apply.Sysctl(base+"tcp_be_liberal", "1"))
	}
	return errors.Join(errs...)
}

// udpPort is what tracked flows of one UDP port of a Service look like: where they were sent, and who may answer.
type udpPort struct{ endpoints map[netip.Addr]bool }

// staleFilter finds tracked UDP flows that the rules would not make any more.
type staleFilter struct {
	byAddr   map[netip.AddrPort]*udpPort
	byPort   map[uint16]*udpPort // node ports
	local    map[netip.Addr]bool
	hasFlows bool
}

// newStaleFilter looks at the ports as they were and as they are. Flows are wrong that go to an endpoint that is not one any more, or
// that were not translated at all though there are endpoints now.
func newStaleFilter(done []replaced) *staleFilter {
	f := &staleFilter{byAddr: map[netip.AddrPort]*udpPort{}, byPort: map[uint16]*udpPort{}}
	note := func(r portRules, endpoints map[netip.Addr]bool) {
		u := &udpPort{endpoints}
		add := func(ip netip.Addr) { f.byAddr[netip.AddrPortFrom(ip, r.port.Number)] = u }
		add(r.port.ClusterIP)
		for _, ip := range r.port.ExternalIPs {
			add(ip)
		}
		for _, ip := range r.port.LoadBalancerIPs {
			add(ip)
		}
		if r.port.NodePort != 0 {
			f.byPort[r.port.NodePort] = u
		}
		f.hasFlows = true
	}
	for _, d := range done {
		if sameEndpoints(d) {
			continue
		}
		for _, old := range d.old {
			if old.port.Protocol == corev1.ProtocolUDP {
				note(old, nil)
			}
		}
	}
	for _, d := range done { // what is now wins over what was: an address may have moved to another Service
		if sameEndpoints(d) {
			continue
		}
		for _, now := range d.new {
			if now.port.Protocol != corev1.ProtocolUDP {
				continue
			}
			ips := map[netip.Addr]bool{}
			for _, e := range append(now.sel.Cluster[:len(now.sel.Cluster):len(now.sel.Cluster)], now.sel.Local...) {
				ips[e.Addr.Addr()] = true
			}
			note(now, ips)
		}
	}
	return f
}

// sameEndpoints tells whether nothing changed that flows depend on.
func sameEndpoints(d replaced) bool {
	if len(d.old) != len(d.new) {
		return false
	}
	for i := range d.old {
		a, b := d.old[i].rules, d.new[i].rules
		if len(a.Own) != len(b.Own) || len(a.Shared) != len(b.Shared) {
			return false
		}
		for j := range a.Own {
			if a.Own[j].Name != b.Own[j].Name {
				return false
			}
		}
		for j := range a.Shared {
			if a.Shared[j] != b.Shared[j] {
				return false
			}
		}
	}
	return true
}

func (f *staleFilter) match(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	dst, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok {
		return false
	}
	dst = dst.Unmap()
	port, ok := f.byAddr[netip.AddrPortFrom(dst, flow.Forward.DstPort)]
	if !ok {
		if port, ok = f.byPort[flow.Forward.DstPort]; !ok || !f.local[dst] {
			return false
		}
	}
	answers, ok := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return !ok || !port.endpoints[answers.Unmap()]
}

// forgetStale drops tracked UDP flows that the change made wrong. After a full write flows of an earlier process may be wrong, so
// all ports are looked at.
func forgetStale(fam apply.Family, done []replaced, full bool) error {
	if full {
		all := make([]replaced, 0, len(done))
		for _, d := range done {
			all = append(all, replaced{old: nil, new: d.new})
		}
		done = all
	}
	f := newStaleFilter(done)
	if !f.hasFlows {
		return nil
	}
	if len(f.byPort) > 0 {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("this node's addresses: %w", err)
		}
		f.local = map[netip.Addr]bool{}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				f.local[p.Addr().Unmap()] = true
			}
		}
	}
	return apply.ForgetFlows(fam, f.match)
}
