package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// The backends.
const (
	BackendVXLAN  = "vxlan"
	BackendHostGW = "host-gw"
)

// NetConf is flannel's network configuration, net-conf.json.
type NetConf struct {
	// Network is the range of all pods of the cluster.
	Network netip.Prefix
	Backend Backend
}

// Backend says how packets get from node to node.
type Backend struct {
	// Type is vxlan (the default) or host-gw.
	Type string
	// VNI is the number of the virtual network, 1 by default, and part of the interface's name.
	VNI int
	// Port is the UDP port of vxlan, 8472 by default.
	Port int
	// MTU of the underlying network, in bytes; that of the interface by default.
	MTU int
	// DirectRouting uses plain routes between nodes on the same link.
	DirectRouting bool
}

// ErrNoNetwork tells that the configuration names no range of pods.
var ErrNoNetwork = errors.New("net-conf.json: Network is needed")

// DefaultNetConf is vxlan over the range.
func DefaultNetConf(network netip.Prefix) NetConf {
	n := NetConf{Network: network}
	n.complete()
	return n
}

// LoadNetConf reads a net-conf.json.
func LoadNetConf(path string) (NetConf, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return NetConf{}, err
	}
	n, err := ParseNetConf(data)
	if err != nil {
		return NetConf{}, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// ParseNetConf reads flannel's format. Keys that flannel knows for other backends and for addressing without the Kubernetes
// API are accepted and mean nothing here.
func ParseNetConf(data []byte) (NetConf, error) {
	var raw struct {
		Network    string
		EnableIPv4 *bool
		EnableIPv6 bool
		Backend    struct {
			Type          string
			VNI           int
			Port          int
			MTU           int
			DirectRouting bool
			GBP           bool
		}
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return NetConf{}, fmt.Errorf("net-conf.json: %w", err)
	}
	if raw.EnableIPv6 || (raw.EnableIPv4 != nil && !*raw.EnableIPv4) {
		return NetConf{}, errors.New("net-conf.json: only IPv4 networks are supported (EnableIPv6 must be false)")
	}
	if raw.Backend.GBP {
		return NetConf{}, errors.New("net-conf.json: Backend.GBP is not supported")
	}
	if raw.Network == "" {
		return NetConf{}, ErrNoNetwork
	}
	network, err := netip.ParsePrefix(raw.Network)
	if err != nil {
		return NetConf{}, fmt.Errorf("net-conf.json: Network: %w", err)
	}
	b := raw.Backend
	n := NetConf{Network: network.Masked(), Backend: Backend{b.Type, b.VNI, b.Port, b.MTU, b.DirectRouting}}
	n.complete()
	return n, n.validate()
}

func (n *NetConf) complete() {
	b := &n.Backend
	if b.Type == "" {
		b.Type = BackendVXLAN
	}
	if b.VNI == 0 {
		b.VNI = 1
	}
	if b.Port == 0 {
		b.Port = 8472
	}
}

func (n *NetConf) validate() error {
	b := n.Backend
	switch {
	case !n.Network.IsValid() || !n.Network.Addr().Is4():
		return fmt.Errorf("net-conf.json: Network %v is not an IPv4 range", n.Network)
	case b.Type != BackendVXLAN && b.Type != BackendHostGW:
		return fmt.Errorf("net-conf.json: Backend.Type %q: supported are %s and %s", b.Type, BackendVXLAN, BackendHostGW)
	case b.VNI < 1 || b.VNI > 1<<24-1:
		return fmt.Errorf("net-conf.json: Backend.VNI %d is not a vxlan network number", b.VNI)
	case b.Port < 1 || b.Port > 65535:
		return fmt.Errorf("net-conf.json: Backend.Port %d is not a port", b.Port)
	case b.MTU < 0 || b.MTU > 65535:
		return fmt.Errorf("net-conf.json: Backend.MTU %d is not a packet size", b.MTU)
	}
	return nil
}
