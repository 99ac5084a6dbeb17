package overlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"

	"github.com/vishvananda/netlink"
)

// uplink is the interface by which this node reaches the others.
type uplink struct {
	index    int
	name     string
	mtu      int
	address  netip.Addr
	networks []netip.Prefix
}

// ErrNoUplink tells that no interface fits: --iface and --public-ip name one.
var ErrNoUplink = errors.New("no interface for traffic between nodes")

// findUplink picks the interface: the first one named (by name or address) or matched by a pattern, else the one that has the
// public address, else the one of the default route.
func findUplink(names, patterns []string, public netip.Addr) (uplink, error) {
	all, err := interfaces()
	if err != nil {
		return uplink{}, err
	}
	fits, err := choices(names, patterns, public)
	if err != nil {
		return uplink{}, err
	}
	for _, fit := range fits {
		for _, u := range all {
			if !fit(&u) {
				continue
			}
			if public.IsValid() && u.has(public) {
				u.address = public
			}
			return u, nil
		}
	}
	return uplink{}, fmt.Errorf("%w: interfaces %q, patterns %q, public address %v", ErrNoUplink, names, patterns, public)
}

// choices are the conditions to try one after another.
func choices(names, patterns []string, public netip.Addr) ([]func(*uplink) bool, error) {
	var out []func(*uplink) bool
	for _, name := range names {
		ip, err := netip.ParseAddr(name)
		out = append(out, func(u *uplink) bool { return u.name == name || err == nil && u.has(ip) })
	}
	for _, p := range patterns {
		form, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("--iface-regex: %w", err)
		}
		out = append(out, func(u *uplink) bool { return form.MatchString(u.name) || form.MatchString(u.address.String()) })
	}
	switch {
	case len(out) > 0:
	case public.IsValid():
		out = append(out, func(u *uplink) bool { return u.has(public) })
	default:
		routed, err := defaultRoute()
		if err != nil {
			return nil, err
		}
		out = append(out, func(u *uplink) bool { return u.index == routed })
	}
	return out, nil
}

// interfaces are those with an IPv4 address.
func interfaces() ([]uplink, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	var out []uplink
	for _, l := range links {
		u, err := describe(l)
		if err != nil {
			return nil, err
		}
		if len(u.networks) > 0 {
			out = append(out, u)
		}
	}
	return out, nil
}

func (u *uplink) has(ip netip.Addr) bool {
	for _, n := range u.networks {
		if n.Addr() == ip {
			return true
		}
	}
	return false
}

// onLink tells whether the address is reached without a router.
func (u *uplink) onLink(ip netip.Addr) bool {
	for _, n := range u.networks {
		if n.Masked().Contains(ip) {
			return true
		}
	}
	return false
}

func describe(l netlink.Link) (uplink, error) {
	u := uplink{index: l.Attrs().Index, name: l.Attrs().Name, mtu: l.Attrs().MTU}
	if l.Attrs().Flags&net.FlagLoopback != 0 {
		u.mtu = 1500 // what it really carries is not what a network between nodes would
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return u, fmt.Errorf("addresses of %s: %w", u.name, err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		ones, _ := a.Mask.Size()
		u.networks = append(u.networks, netip.PrefixFrom(ip, ones))
		if !u.address.IsValid() {
			u.address = ip
		}
	}
	return u, nil
}

func defaultRoute() (int, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, fmt.Errorf("routes: %w", err)
	}
	best, metric := -1, 0
	for _, r := range routes {
		if r.Dst != nil && r.Dst.String() != "0.0.0.0/0" {
			continue
		}
		index := r.LinkIndex
		if len(r.MultiPath) > 0 {
			index = r.MultiPath[0].LinkIndex
		}
		if best < 0 || r.Priority < metric {
			best, metric = index, r.Priority
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("%w: there is no default route", ErrNoUplink)
	}
	return best, nil
}
