package cni

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

// Network is what the overlay gave to this node.
type Network struct {
	// Subnets are the node's pod subnets, at most one per family. Pods get one address of each.
	Subnets []netip.Prefix
	// MTU of the pods' interfaces, in bytes.
	MTU int
}

// Equal tells whether both are the same.
func (n Network) Equal(o Network) bool { return n.MTU == o.MTU && slices.Equal(n.Subnets, o.Subnets) }

// DefaultPluginName is what the plugin is called among a runtime's executables.
const DefaultPluginName = "hyperkube-cni"

// Config of a [Server]. Only Network, Socket, StateDir and ConfDir have no default.
type Config struct {
	// Socket is the path of the unix socket that the plugin connects to.
	Socket string
	// StateDir holds the attachments. It must outlive the process but need not outlive a reboot.
	StateDir string
	// ConfDir is the directory in which the container runtime looks for network configurations.
	ConfDir string
	// ConfFile is the configuration's name in ConfDir, 10-hyperkube.conflist by default. Runtimes take the first by name.
	ConfFile string
	// PluginName is the plugin's name in the runtime's directory of executables, hyperkube-cni by default.
	PluginName string
	// NetworkName names the network in the configuration and in the comments of host port rules, hyperkube by default.
	// Clusters on one machine need different ones.
	NetworkName string
	// BridgeName is the bridge's interface name, cni0 by default.
	BridgeName string
	// NoHairpin keeps a pod from reaching itself through a service when frames are filtered on the bridge.
	NoHairpin bool
	// Network blocks until the node's network is known and differs from previous, whose zero value is
	// given first. It is called again after each answer; on an error of ctx the server ends.
	Network func(ctx context.Context, previous Network) (Network, error)
	// Log is slog.Default by default.
	Log *slog.Logger
}

func (c *Config) complete() error {
	var errs []error
	need := func(value, name string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("cni: %s is needed", name))
		}
	}
	need(c.Socket, "Socket")
	need(c.StateDir, "StateDir")
	need(c.ConfDir, "ConfDir")
	if c.Network == nil {
		errs = append(errs, errors.New("cni: Network is needed"))
	}
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.ConfFile, "10-hyperkube.conflist")
	set(&c.PluginName, DefaultPluginName)
	set(&c.NetworkName, "hyperkube")
	set(&c.BridgeName, "cni0")
	if len(c.BridgeName) > 15 {
		errs = append(errs, fmt.Errorf("cni: bridge name %q is longer than the kernel's 15 bytes", c.BridgeName))
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "cni")
	return errors.Join(errs...)
}

// gateway is the address of the bridge in a subnet: its first.
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// Gateways gives the bridge's addresses in the network, one per subnet. The node's cluster DNS listens there.
func (n Network) Gateways() []netip.Addr {
	var out []netip.Addr
	for _, s := range n.Subnets {
		out = append(out, gateway(s))
	}
	return out
}
