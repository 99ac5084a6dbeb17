package overlay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vxlanOverhead is what vxlan adds to a packet: IPv4, UDP, vxlan and Ethernet headers, in bytes.
const vxlanOverhead = 50

// ensureVXLAN makes the interface what it should be and returns it. One that is right is kept, and so its hardware
// address, which other nodes know.
func ensureVXLAN(name string, b Backend, up uplink, subnet netip.Prefix, mtu int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	want := &netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: b.VNI, VtepDevIndex: up.index, SrcAddr: up.address.AsSlice(), Port: b.Port,
		Learning: false, // every address is known from the API
	}
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		link, err = addVXLAN(want)
	case err == nil && !sameVXLAN(link, want):
		want.HardwareAddr = link.Attrs().HardwareAddr
		if err = netlink.LinkDel(link); err == nil {
			link, err = addVXLAN(want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("vxlan interface %s: %w", name, err)
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return nil, fmt.Errorf("vxlan interface %s: mtu %d: %w", name, mtu, err)
		}
	}
	if err := setAddress(link, subnet); err != nil {
		return nil, err
	}
	if err := checksumOff(name); err != nil {
		return nil, fmt.Errorf("vxlan interface %s: checksum offload: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("vxlan interface %s: up: %w", name, err)
	}
	return link, nil
}

func addVXLAN(v *netlink.Vxlan) (netlink.Link, error) {
	if v.HardwareAddr == nil {
		mac := make([]byte, 6)
		if _, err := rand.Read(mac); err != nil {
			return nil, err
		}
		mac[0] = mac[0]&0xfe | 0x02 // one station, locally administered
		v.HardwareAddr = mac
	}
	if err := netlink.LinkAdd(v); err != nil {
		return nil, err
	}
	return netlink.LinkByName(v.Name)
}

func sameVXLAN(l netlink.Link, want *netlink.Vxlan) bool {
	have, ok := l.(*netlink.Vxlan)
	return ok && have.VxlanId == want.VxlanId && have.Port == want.Port && have.VtepDevIndex == want.VtepDevIndex &&
		!have.Learning && have.SrcAddr.Equal(want.SrcAddr) && !have.GBP && len(have.Group) == 0
}

// setAddress gives the interface the subnet's first address alone. Packets of the node itself to pods elsewhere leave with it.
func setAddress(link netlink.Link, subnet netip.Prefix) error {
	want := &net.IPNet{IP: subnet.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", link.Attrs().Name, err)
	}
	for i := range have {
		if have[i].IPNet.String() == want.String() {
			want = nil
			continue
		}
		if err := netlink.AddrDel(link, &have[i]); err != nil {
			return fmt.Errorf("remove address %v of %s: %w", have[i].IPNet, link.Attrs().Name, err)
		}
	}
	if want == nil {
		return nil
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: want}); err != nil {
		return fmt.Errorf("address %v of %s: %w", want, link.Attrs().Name, err)
	}
	return nil
}

// checksumOff makes the kernel compute checksums of packets before they enter the tunnel. With the work left to the network
// card, packets whose address is translated on the way into the tunnel went out with a wrong inner or outer
// checksum on several kernels, and the other node dropped them: services were slow or dead from the node itself
// (https://github.com/kubernetes/kubernetes/issues/88986).
func checksumOff(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// struct ethtool_value and struct ifreq of linux/ethtool.h and linux/if.h.
	value := struct{ cmd, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 && errno != unix.EOPNOTSUPP {
		return errno
	}
	return nil
}

// vxlanRoute, vxlanNeigh and vxlanForward lead to one node: the route to its subnet by way of its vxlan interface, that interface's hardware
// address, and the node's address behind the hardware address.
func vxlanRoute(dev int, p peer) *netlink.Route {
	return &netlink.Route{
		LinkIndex: dev, Dst: prefixNet(p.subnet), Gw: p.subnet.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		Protocol: unix.RTPROT_BOOT,
	}
}

func vxlanNeigh(dev int, p peer) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: dev, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, Type: unix.RTN_UNICAST,
		IP: p.subnet.Addr().AsSlice(), HardwareAddr: bytes.Clone(p.mac[:]),
	}
}

func vxlanForward(dev int, p peer) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: dev, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
		IP: p.publicIP.AsSlice(), HardwareAddr: bytes.Clone(p.mac[:]),
	}
}

func prefixNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
