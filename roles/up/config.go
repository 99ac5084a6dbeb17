// Package up runs a node of a cluster, and with it the whole cluster where it is the master, in one process.
//
// It is the only role that knows others: it makes what they need (directories, certificates, identities), starts them in
// the order in which they rely on one another, and gives those on the master the API by the direct door.
//
//	etcd → API server → controllers, scheduler → overlay → pod network, proxy → container runtime → kubelet
//
// A machine that joins a cluster elsewhere runs the same parts from the overlay on. They speak to the API server over HTTPS with
// one certificate, the node's own: see admit.
//
// Nothing waits for more than it needs: the runtime starts beside the API server, and the node is Ready as soon as the
// last of them is.
package up

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"

	"hyperkube/internal/cluster"
	"hyperkube/internal/tokens"
)

// Config of a node.
type Config struct {
	Layout cluster.Layout
	// Join is how to get into a cluster that runs elsewhere; nil: this machine is the master of its own.
	Join *Join

	NodeName string
	NodeIP   net.IP
	// GivenIP tells that NodeIP was asked for, not found.
	GivenIP bool
	// Bridge, Overlay names of the kernel's interfaces; backend is vxlan or host-gw.
	Bridge, OverlayBackend string

	PodCIDR       netip.Prefix
	ServiceCIDR   *net.IPNet
	DNSIP         net.IP // the tenth of the service range
	ClusterDomain string
	NodePorts     utilnet.PortRange
	APIPort       int
	// APINames are further names and addresses of the API server for its certificate.
	APINames []string

	// Kubeconfig is where the administrator's goes besides the data directory; empty writes none there.
	Kubeconfig string
	// RuntimeEndpoint is the socket of a container runtime other than the embedded one.
	RuntimeEndpoint string
	// CNIConfDir and CNIBinDir are where that runtime looks for the configuration of networks and for plugins.
	CNIConfDir, CNIBinDir string
	// RegistryDir has a directory with a hosts.toml for each image registry; /etc/containerd/certs.d if empty.
	RegistryDir string
	// Disabled roles do not run.
	Disabled map[string]bool
	// Args are further flags of roles, in upstream's names, by the name of the role; they go over what is set here.
	Args    map[string][]string
	Verbose int
}

// Join is the way into a cluster.
type Join struct {
	Server string // URL of the API server
	// Token is needed once. Pins are the only CAs to trust, if there are any.
	Token *tokens.Bootstrap
	Pins  []string
}

// nodeRoles are those that --disable takes on every node, roleNames on a master.
var (
	nodeRoles = []string{"kubelet", "proxy", "flannel", "dns"}
	roleNames = append([]string{"scheduler", "controller-manager"}, nodeRoles...)
)

func (c *Config) complete() error {
	if c.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("the name of this machine: %w (give --node-name)", err)
		}
		c.NodeName = strings.ToLower(name)
	}
	if errs := validation.IsDNS1123Subdomain(c.NodeName); len(errs) > 0 {
		return fmt.Errorf("%q cannot be the name of a node: %s (give --node-name)", c.NodeName, strings.Join(errs, ", "))
	}
	if c.NodeIP == nil {
		ip, err := ownAddress()
		if err != nil {
			return err
		}
		c.NodeIP = ip
	}
	if err := c.checkArgs(); err != nil {
		return err
	}
	roles := roleNames
	if c.Join != nil {
		roles = nodeRoles
	}
	for r := range c.Disabled {
		if !slices.Contains(roles, r) {
			return fmt.Errorf("--disable: there is no role %q; those that can be left out: %s", r, strings.Join(roles, ", "))
		}
	}
	if c.ServiceCIDR != nil && c.DNSIP == nil {
		var err error
		if c.DNSIP, err = nth(c.ServiceCIDR, 10); err != nil {
			return err
		}
	}
	return nil
}

// nth is the address n after the first of a range.
func nth(r *net.IPNet, n int) (net.IP, error) {
	ip, _ := netip.AddrFromSlice(r.IP)
	ip = ip.Unmap()
	for range n {
		ip = ip.Next()
	}
	if !r.Contains(ip.AsSlice()) {
		return nil, fmt.Errorf("the range %s has no address number %d", r, n)
	}
	return ip.AsSlice(), nil
}

// ownAddress is the address by which this machine reaches others: that of the interface of the default route, or
// else the first that is not loopback.
func ownAddress() (net.IP, error) {
	if ip, err := utilnet.ChooseHostInterface(); err == nil {
		return ip, nil
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("the addresses of this machine: %w", err)
	}
	for _, a := range all {
		if a.IP.IsGlobalUnicast() {
			return a.IP, nil
		}
	}
	return nil, errors.New("this machine has no address but loopback: give --node-ip")
}
