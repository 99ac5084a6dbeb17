package overlay

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// The annotations of a Node, below the prefix.
const (
	annBackendData = "/backend-data"
	annBackendType = "/backend-type"
	annPublicIP    = "/public-ip"
	annOverwrite   = "/public-ip-overwrite"
	annManager     = "/kube-subnet-manager"

	// DefaultPrefix is flannel's own prefix of annotations.
	DefaultPrefix = "flannel.alpha.coreos.com"
)

// peer is how one node takes part in the overlay. It is comparable.
type peer struct {
	subnet   netip.Prefix
	publicIP netip.Addr
	backend  string
	vni      int
	mac      [6]byte // of its vxlan interface
}

// vxlanData is the content of backend-data. flannel writes null for backends without data.
type vxlanData struct {
	VNI     *int   `json:"VNI"`
	VtepMAC string `json:"VtepMAC"`
}

// subnetOf is the node's IPv4 pod subnet; false while it has none.
func subnetOf(n *corev1.Node) (netip.Prefix, bool) {
	cidrs := n.Spec.PodCIDRs
	if len(cidrs) == 0 {
		cidrs = []string{n.Spec.PodCIDR}
	}
	for _, c := range cidrs {
		if p, err := netip.ParsePrefix(c); err == nil && p.Addr().Is4() {
			return p.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// peerOf reads a node's annotations. It is false while the node does not take part, and an error if what it says makes no sense.
func peerOf(n *corev1.Node, prefix string) (peer, bool, error) {
	a := n.Annotations
	subnet, ok := subnetOf(n)
	if !ok || a[prefix+annManager] != "true" {
		return peer{}, false, nil
	}
	p := peer{subnet: subnet, backend: a[prefix+annBackendType]}
	var err error
	if p.publicIP, err = netip.ParseAddr(a[prefix+annPublicIP]); err != nil {
		return peer{}, false, fmt.Errorf("annotation %s: %w", prefix+annPublicIP, err)
	}
	if p.backend != BackendVXLAN {
		return p, true, nil
	}
	var d vxlanData
	if err := json.Unmarshal([]byte(a[prefix+annBackendData]), &d); err != nil {
		return peer{}, false, fmt.Errorf("annotation %s: %w", prefix+annBackendData, err)
	}
	mac, err := net.ParseMAC(d.VtepMAC)
	if err != nil || len(mac) != len(p.mac) {
		return peer{}, false, fmt.Errorf("annotation %s: %q is not a hardware address", prefix+annBackendData, d.VtepMAC)
	}
	copy(p.mac[:], mac)
	p.vni = 1
	if d.VNI != nil {
		p.vni = *d.VNI
	}
	return p, true, nil
}

// annotations says how to reach this node.
func annotations(prefix string, p peer) (map[string]string, error) {
	data := []byte("null")
	if p.backend == BackendVXLAN {
		var err error
		if data, err = json.Marshal(vxlanData{VNI: &p.vni, VtepMAC: net.HardwareAddr(p.mac[:]).String()}); err != nil {
			return nil, err
		}
	}
	return map[string]string{
		prefix + annBackendData: string(data),
		prefix + annBackendType: p.backend,
		prefix + annPublicIP:    p.publicIP.String(),
		prefix + annManager:     "true",
	}, nil
}
