package cni

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hyperkube/internal/network/apply"
)

// ensureBridge makes the bridge what it should be: up, with the gateway addresses of the network and no others of ours,
// and its MTU. It leaves a bridge that is right untouched. It returns the bridge's index.
func ensureBridge(name string, n Network) (int, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		link, err = addBridge(name, n)
	}
	if err != nil {
		return 0, fmt.Errorf("bridge %s: %w", name, err)
	}
	if link.Type() != "bridge" {
		return 0, fmt.Errorf("interface %s exists and is a %s, not a bridge", name, link.Type())
	}
	if link.Attrs().MTU != n.MTU {
		if err := netlink.LinkSetMTU(link, n.MTU); err != nil {
			return 0, fmt.Errorf("bridge %s: mtu %d: %w", name, n.MTU, err)
		}
	}
	if err := ensureAddresses(link, n.Subnets); err != nil {
		return 0, err
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return 0, fmt.Errorf("bridge %s: up: %w", name, err)
		}
	}
	return link.Attrs().Index, bridgeSysctls(name, n)
}

func addBridge(name string, n Network) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.MTU = n.MTU
	// A bridge without an address of its own takes its lowest port's, and changes it as pods come and go.
	attrs.HardwareAddr = macOf(gateway(n.Subnets[0]))
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return netlink.LinkByName(name)
}

func ensureAddresses(link netlink.Link, subnets []netip.Prefix) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", link.Attrs().Name, err)
	}
	want := map[string]bool{}
	for _, s := range subnets {
		want[netip.PrefixFrom(gateway(s), s.Bits()).String()] = true
	}
	for i := range have {
		if have[i].IP.IsLinkLocalUnicast() || want[have[i].IPNet.String()] {
			delete(want, have[i].IPNet.String())
			continue
		}
		if err := netlink.AddrDel(link, &have[i]); err != nil {
			return fmt.Errorf("remove address %v of %s: %w", have[i].IPNet, link.Attrs().Name, err)
		}
	}
	for p := range want {
		addr, err := netlink.ParseAddr(p)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address %s to %s: %w", p, link.Attrs().Name, err)
		}
	}
	return nil
}

// bridgeSysctls lets the node forward for pods, lets local processes reach host ports through 127.0.0.1, and
// makes frames between pods of one bridge pass the packet filter: without it an answer from a service's pod on the
// same node would not get the service's address back.
func bridgeSysctls(bridge string, n Network) error {
	if err := apply.Sysctl("net/ipv4/conf/"+bridge+"/route_localnet", "1"); err != nil {
		return err
	}
	callers := []string{}
	for _, s := range n.Subnets {
		if s.Addr().Is4() {
			callers = append(callers, "net/bridge/bridge-nf-call-iptables")
			if err := apply.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
				return err
			}
		} else {
			callers = append(callers, "net/bridge/bridge-nf-call-ip6tables")
			if err := apply.Sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil {
				return err
			}
		}
	}
	for i, c := range callers {
		err := apply.Sysctl(c, "1")
		if err != nil && i == 0 && exec.Command("modprobe", "br_netfilter").Run() == nil {
			err = apply.Sysctl(c, "1")
		}
		if err != nil {
			return fmt.Errorf("the kernel module br_netfilter is needed, for services whose pods share a node: %w", err)
		}
	}
	return nil
}

// macOf derives a locally administered hardware address from an address, so that an address keeps its hardware address
// from pod to pod and nobody's neighbour table goes stale.
func macOf(ip netip.Addr) net.HardwareAddr {
	b := ip.AsSlice()
	return append(net.HardwareAddr{0x0a, 0x58}, b[len(b)-4:]...)
}
