package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostVethName is the name of an attachment's end on the node.
func hostVethName(containerID, ifName string) string {
	sum := sha256.Sum256([]byte(containerID + "\x00" + ifName))
	return "veth" + hex.EncodeToString(sum[:])[:8]
}

// plug makes the pair of interfaces, the pod's end addressed, routed and up in the namespace, the node's end up
// on the bridge. It returns the hardware addresses of the node's and of the pod's end.
func plug(a *Attachment, bridge int, mtu int, hairpin bool) (host, pod net.HardwareAddr, err error) {
	file, err := os.Open(a.NetNS)
	if err != nil {
		return nil, nil, fmt.Errorf("network namespace: %w", err)
	}
	defer file.Close()
	pod = macOf(a.Addresses[0].Addr())
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags, attrs.MasterIndex = a.HostVeth, mtu, net.FlagUp, bridge
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: a.IfName, PeerHardwareAddr: pod,
		PeerNamespace: netlink.NsFd(file.Fd()), PeerMTU: uint32(mtu),
	}
	err = netlink.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		// The name is made from the container's: this is what an earlier ADD left when it was cut off.
		if err = unplug(a.HostVeth); err == nil {
			err = netlink.LinkAdd(veth)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("interface %s: %w", a.HostVeth, err)
	}
	if hairpin {
		if err := netlink.LinkSetHairpin(veth, true); err != nil {
			return nil, nil, fmt.Errorf("interface %s: hairpin: %w", a.HostVeth, err)
		}
	}
	if err := configurePod(int(file.Fd()), a); err != nil {
		return nil, nil, err
	}
	if l, err := netlink.LinkByIndex(veth.Index); err == nil {
		host = l.Attrs().HardwareAddr
	}
	return host, pod, nil
}

func configurePod(nsFd int, a *Attachment) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(nsFd), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer h.Close()
	if lo, err := h.LinkByName("lo"); err == nil && lo.Attrs().Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(lo); err != nil {
			return fmt.Errorf("loopback: %w", err)
		}
	}
	link, err := h.LinkByName(a.IfName)
	if err != nil {
		return fmt.Errorf("pod interface %s: %w", a.IfName, err)
	}
	for _, p := range a.Addresses {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// Our own allocation makes the address unique; detection would keep it unusable for a second.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("pod address %v: %w", p, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("pod interface %s: up: %w", a.IfName, err)
	}
	for _, p := range a.Addresses {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway(p).AsSlice(), Dst: anywhere(p)}
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("pod default route via %v: %w", gateway(p), err)
		}
	}
	return nil
}

// unplug removes the node's end, and the pod's with it. One that is gone already is no error.
func unplug(hostVeth string) error {
	link, err := netlink.LinkByName(hostVeth)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", hostVeth, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", hostVeth, err)
	}
	return nil
}

// checkPlugged tells what is wrong with an attachment's kernel objects, nil if nothing is.
func checkPlugged(a *Attachment) error {
	if _, err := netlink.LinkByName(a.HostVeth); err != nil {
		return fmt.Errorf("interface %s: %w", a.HostVeth, err)
	}
	file, err := os.Open(a.NetNS)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer file.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(a.IfName)
	if err != nil {
		return fmt.Errorf("pod interface %s: %w", a.IfName, err)
	}
	addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("pod interface %s: %w", a.IfName, err)
	}
	have := map[string]bool{}
	for _, addr := range addrs {
		have[addr.IPNet.String()] = true
	}
	for _, p := range a.Addresses {
		if !have[p.String()] {
			return fmt.Errorf("pod interface %s lacks the address %v", a.IfName, p)
		}
	}
	return nil
}

// namespaceGone tells whether the path is no network namespace any more: removed, or unmounted.
func namespaceGone(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if err != nil {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
	}
	return st.Type != unix.NSFS_MAGIC && st.Type != unix.PROC_SUPER_MAGIC
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func anywhere(p netip.Prefix) *net.IPNet {
	if p.Addr().Is4() {
		return ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}
