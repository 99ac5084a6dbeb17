package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The ways to recognise traffic from pods, with upstream's names.
const (
	LocalClusterCIDR         = "ClusterCIDR"
	LocalNodeCIDR            = "NodeCIDR"
	LocalBridgeInterface     = "BridgeInterface"
	LocalInterfaceNamePrefix = "InterfaceNamePrefix"
)

// Config of a [Proxy]. Only NodeName has no default.
type Config struct {
	// NodeName is the Node whose endpoints are local.
	NodeName string
	// ClusterCIDRs are the ranges of pods' addresses, for LocalClusterCIDR.
	ClusterCIDRs []netip.Prefix
	// DetectLocalMode is one of the ways above, LocalClusterCIDR by default. BridgeInterface and InterfaceNamePrefix go with theirs.
	DetectLocalMode     string
	BridgeInterface     string
	InterfaceNamePrefix string
	// NodePortAddresses limit where node ports are served: ranges, or "primary" for the Node's own addresses. Empty means everywhere.
	NodePortAddresses []string
	// NodeIPs are the node's own addresses; those of the Node object if empty.
	NodeIPs []netip.Addr
	// MasqueradeAll gives all traffic to cluster addresses the node's own source. MasqueradeBit is 14 by default.
	MasqueradeAll bool
	MasqueradeBit *int
	// NoLocalhostNodePorts leaves node ports at 127.0.0.1 unserved.
	NoLocalhostNodePorts bool
	// SyncPeriod is how often everything is written anew, one hour by default. MinSyncPeriod is the shortest time between two writes, 0
	// by default.
	SyncPeriod, MinSyncPeriod time.Duration
	// Conntrack are the kernel's limits for tracked connections.
	Conntrack Conntrack
	// HealthzAddress and MetricsAddress are where to serve; empty serves nothing. Metrics is the registry that the
	// proxy's own metrics go to, one of its own by default.
	HealthzAddress, MetricsAddress string
	// BindHardFail ends the proxy when an address cannot be bound; it is tried again otherwise.
	BindHardFail bool
	Profiling    bool
	Metrics      *prometheus.Registry
	// Configz is what /configz on the metrics port tells, by the name of the configuration's API group; nil serves none.
	Configz map[string]any
	// IPv6 serves Services of that family too. IPv4Only is what is wanted of most nodes; nil means both, where the node can.
	Families []int
	// Log is slog.Default by default.
	Log *slog.Logger
}

// Conntrack are kernel settings for tracked connections. A zero leaves the kernel's value.
type Conntrack struct {
	// MaxPerCore times the cores, but at least Min, is how many connections are tracked.
	MaxPerCore, Min int
	// How long entries are kept.
	TCPEstablishedTimeout, TCPCloseWaitTimeout time.Duration
	UDPTimeout, UDPStreamTimeout               time.Duration
	// TCPBeLiberal lets packets outside of the window through.
	TCPBeLiberal bool
}

func (c *Config) complete() error {
	if c.NodeName == "" {
		return errors.New("proxy: NodeName is needed")
	}
	switch c.DetectLocalMode {
	case "":
		c.DetectLocalMode = LocalClusterCIDR
	case LocalClusterCIDR, LocalNodeCIDR:
	case LocalBridgeInterface:
		if c.BridgeInterface == "" {
			return errors.New("proxy: detect-local-mode BridgeInterface needs a bridge interface")
		}
	case LocalInterfaceNamePrefix:
		if c.InterfaceNamePrefix == "" {
			return errors.New("proxy: detect-local-mode InterfaceNamePrefix needs a prefix")
		}
	default:
		return fmt.Errorf("proxy: unknown detect-local-mode %q", c.DetectLocalMode)
	}
	for _, a := range c.NodePortAddresses {
		if a == "primary" || a == "localhost" || a == "all" {
			continue
		}
		if _, err := netip.ParsePrefix(a); err != nil {
			return fmt.Errorf("proxy: node port address %q: %w", a, err)
		}
	}
	bit := 14
	if c.MasqueradeBit == nil {
		c.MasqueradeBit = &bit
	}
	if *c.MasqueradeBit < 0 || *c.MasqueradeBit > 31 {
		return fmt.Errorf("proxy: masquerade bit %d is not one of 0 to 31", *c.MasqueradeBit)
	}
	if c.SyncPeriod <= 0 {
		c.SyncPeriod = time.Hour
	}
	if c.MinSyncPeriod > c.SyncPeriod {
		return fmt.Errorf("proxy: the shortest time between writes %v is over the sync period %v", c.MinSyncPeriod, c.SyncPeriod)
	}
	if len(c.Families) == 0 {
		c.Families = []int{4, 6}
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "kube-proxy")
	return nil
}

// interfaceMatch is the interface that pods' packets come in by, as iptables takes it.
func (c *Config) interfaceMatch() string {
	switch c.DetectLocalMode {
	case LocalBridgeInterface:
		return c.BridgeInterface
	case LocalInterfaceNamePrefix:
		return strings.TrimSuffix(c.InterfaceNamePrefix, "+") + "+"
	}
	return ""
}
