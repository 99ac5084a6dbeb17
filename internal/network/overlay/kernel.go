package overlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel holds the routes to the other nodes. One goroutine uses it.
type kernel struct {
	cluster netip.Prefix
	backend Backend
	uplink  uplink
	self    peer
	device  string // of vxlan
	mtu     int    // of pods

	dev   int // index of the vxlan interface
	peers map[string]peer
}

// newKernel prepares this node: its own interface, for vxlan. self gets the hardware address.
func newKernel(n NetConf, up uplink, device string, subnet netip.Prefix, public netip.Addr) (*kernel, error) {
	b := n.Backend
	k := &kernel{cluster: n.Network, backend: b, uplink: up, device: device, mtu: up.mtu, peers: map[string]peer{}}
	if b.MTU > 0 {
		k.mtu = b.MTU
	}
	k.self = peer{subnet: subnet, publicIP: public, backend: b.Type}
	if b.Type == BackendVXLAN {
		k.self.vni = b.VNI
		k.mtu -= vxlanOverhead
	}
	return k, k.ensureDevice()
}

func (k *kernel) ensureDevice() error {
	if k.backend.Type != BackendVXLAN {
		return nil
	}
	link, err := ensureVXLAN(k.device, k.backend, k.uplink, k.self.subnet, k.mtu)
	if err != nil {
		return err
	}
	k.dev = link.Attrs().Index
	copy(k.self.mac[:], link.Attrs().HardwareAddr)
	return nil
}

// usable tells why a peer cannot be reached with this node's backend, nil if it can.
func (k *kernel) usable(p peer) error {
	switch {
	case p.backend != k.backend.Type:
		return fmt.Errorf("its backend is %q, this node's %q", p.backend, k.backend.Type)
	case p.vni != k.self.vni:
		return fmt.Errorf("its virtual network is %d, this node's %d", p.vni, k.self.vni)
	case p.subnet.Overlaps(k.self.subnet):
		return fmt.Errorf("its subnet %v overlaps this node's %v", p.subnet, k.self.subnet)
	case p.backend == BackendHostGW && !k.uplink.onLink(p.publicIP):
		return fmt.Errorf("its address %v is not on the link of %s", p.publicIP, k.uplink.name)
	}
	return nil
}

// set makes one node reachable, replacing what led to it before.
func (k *kernel) set(name string, p peer) error {
	old, had := k.peers[name]
	if had && old == p {
		return nil
	}
	if had {
		if err := k.remove(name); err != nil {
			return err
		}
	}
	k.peers[name] = p // also on an error: the next sync tries again
	return k.add(p)
}

// remove what leads to a node. Another node that has taken its subnet over keeps what it needs.
func (k *kernel) remove(name string) error {
	p, had := k.peers[name]
	if !had {
		return nil
	}
	delete(k.peers, name)
	var errs []error
	gone := func(err error) {
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	gone(netlink.RouteDel(k.route(p)))
	if k.tunnelled(p) {
		gone(netlink.NeighDel(vxlanNeigh(k.dev, p)))
		gone(netlink.NeighDel(vxlanForward(k.dev, p)))
	}
	for _, other := range k.peers {
		if other.subnet == p.subnet || other.mac == p.mac && k.tunnelled(other) {
			errs = append(errs, k.add(other))
		}
	}
	return errors.Join(errs...)
}

func (k *kernel) add(p peer) error {
	if k.tunnelled(p) {
		// The way must be known before the route leads there, or the first packets are lost.
		if err := netlink.NeighSet(vxlanForward(k.dev, p)); err != nil {
			return fmt.Errorf("forwarding entry for %v: %w", p.publicIP, err)
		}
		if err := netlink.NeighSet(vxlanNeigh(k.dev, p)); err != nil {
			return fmt.Errorf("neighbour entry for %v: %w", p.subnet, err)
		}
	}
	if err := netlink.RouteReplace(k.route(p)); err != nil {
		return fmt.Errorf("route to %v: %w", p.subnet, err)
	}
	return nil
}

// tunnelled tells whether packets to the peer go through the vxlan interface.
func (k *kernel) tunnelled(p peer) bool {
	return k.backend.Type == BackendVXLAN && !(k.backend.DirectRouting && k.uplink.onLink(p.publicIP))
}

func (k *kernel) route(p peer) *netlink.Route {
	if k.tunnelled(p) {
		return vxlanRoute(k.dev, p)
	}
	return &netlink.Route{LinkIndex: k.uplink.index, Dst: prefixNet(p.subnet), Gw: p.publicIP.AsSlice(), Protocol: unix.RTPROT_BOOT}
}

// sync makes the kernel hold exactly what leads to the peers. It is for the start and for when somebody changed things; single nodes come and go by set and remove.
func (k *kernel) sync() error {
	if err := k.ensureDevice(); err != nil {
		return err
	}
	var errs []error
	if k.backend.Type == BackendVXLAN {
		errs = append(errs, k.dropUnknown())
	}
	if k.plainRoutes() {
		errs = append(errs, k.dropUnknownRoutes())
	}
	for _, p := range k.peers {
		errs = append(errs, k.add(p))
	}
	return errors.Join(errs...)
}

// dropUnknown removes routes, neighbours and forwarding entries of the vxlan interface that lead to no peer, as those of nodes
// that went away while nobody watched.
func (k *kernel) dropUnknown() error {
	subnets, gateways, forwards := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range k.peers {
		if k.tunnelled(p) {
			subnets[p.subnet.String()] = true
			gateways[p.subnet.Addr().String()] = true
			forwards[fmt.Sprintf("%x %v", p.mac, p.publicIP)] = true
		}
	}
	var errs []error
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: k.dev, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	errs = append(errs, err)
	for i := range routes {
		if routes[i].Dst != nil && !subnets[routes[i].Dst.String()] {
			errs = append(errs, netlink.RouteDel(&routes[i]))
		}
	}
	neighs, err := netlink.NeighList(k.dev, netlink.FAMILY_V4)
	errs = append(errs, err)
	for i := range neighs {
		if neighs[i].State&netlink.NUD_PERMANENT != 0 && !gateways[neighs[i].IP.String()] {
			errs = append(errs, netlink.NeighDel(&neighs[i]))
		}
	}
	fdb, err := netlink.NeighList(k.dev, unix.AF_BRIDGE)
	errs = append(errs, err)
	for i := range fdb {
		if fdb[i].IP != nil && !forwards[fmt.Sprintf("%x %v", []byte(fdb[i].HardwareAddr), fdb[i].IP)] {
			errs = append(errs, netlink.NeighDel(&fdb[i]))
		}
	}
	return errors.Join(errs...)
}

// dropUnknownRoutes removes plain routes into the cluster's range that lead to no peer.
func (k *kernel) dropUnknownRoutes() error {
	wanted := map[string]bool{}
	for _, p := range k.peers {
		if !k.tunnelled(p) {
			wanted[p.subnet.String()] = true
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: k.uplink.index, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	errs := []error{err}
	for i := range routes {
		if routes[i].Gw != nil && inRange(routes[i].Dst, k.cluster) && !wanted[routes[i].Dst.String()] {
			errs = append(errs, netlink.RouteDel(&routes[i]))
		}
	}
	return errors.Join(errs...)
}

func inRange(dst *net.IPNet, cluster netip.Prefix) bool {
	if dst == nil {
		return false
	}
	p, err := netip.ParsePrefix(dst.String())
	return err == nil && cluster.Contains(p.Addr()) && p.Bits() >= cluster.Bits()
}

// plainRoutes tells whether some peer may be reached without the tunnel.
func (k *kernel) plainRoutes() bool {
	return k.backend.Type == BackendHostGW || k.backend.DirectRouting
}
