package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"hyperkube/internal/client"
	"hyperkube/internal/cluster"
	"hyperkube/internal/join"
	"hyperkube/internal/network/overlay"
	"hyperkube/internal/pki"
	"hyperkube/internal/version"
)

// settings are what the master tells other nodes.
func (c *Config) settings() (*join.Settings, error) {
	service, err := netip.ParsePrefix(c.ServiceCIDR.String())
	if err != nil {
		return nil, fmt.Errorf("the service range: %w", err)
	}
	dns, ok := netip.AddrFromSlice(c.DNSIP)
	if !ok {
		return nil, fmt.Errorf("the DNS address %s is not understood", c.DNSIP)
	}
	return &join.Settings{
		PodCIDR: c.PodCIDR, ServiceCIDR: service, Domain: c.ClusterDomain, DNS: dns.Unmap(), Overlay: c.OverlayBackend, Version: version.Kubernetes,
		Endpoint: net.JoinHostPort(c.NodeIP.String(), fmt.Sprint(c.APIPort)),
	}, nil
}

// learnTime bounds the question for the settings at a start that knows them from an earlier one.
const learnTime = 5 * time.Second

// learn takes the cluster's settings over. They are kept on disk: while the API server is away, those from last time count, and
// offline is true.
func (c *Config) learn(ctx context.Context, api client.Interface) (offline bool, err error) {
	known := c.PodCIDR.IsValid() && c.ServiceCIDR != nil && c.DNSIP != nil && c.ClusterDomain != ""
	asking := ctx
	if known {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, learnTime)
		defer cancel()
	}
	l, err := join.Learn(asking, api)
	if err != nil {
		if !known || ctx.Err() != nil {
			return false, err
		}
		slog.Default().Warn("the cluster's settings cannot be read, those of the last start count", "component", "up", "error", err)
		return client.Restored(api) != nil || errors.Is(err, context.DeadlineExceeded), nil
	}
	c.PodCIDR, c.ClusterDomain, c.DNSIP, c.OverlayBackend = l.PodCIDR, l.Domain, l.DNS.AsSlice(), l.Overlay
	if _, c.ServiceCIDR, err = net.ParseCIDR(l.ServiceCIDR.String()); err != nil {
		return false, err
	}
	if _, err := overlay.ParseNetConf(l.NetConf); err != nil {
		return false, fmt.Errorf("the cluster's settings: %w", err)
	}
	if err := pki.WriteFile(c.Layout.KubeletConfig(), l.Kubelet, 0o600, false); err != nil {
		return false, err
	}
	return false, pki.WriteFile(c.Layout.NetConf(), l.NetConf, 0o600, false)
}

// netConf is the overlay's configuration.
func (c *Config) netConf() (overlay.NetConf, error) {
	if c.Join != nil {
		return overlay.LoadNetConf(c.Layout.NetConf())
	}
	conf := overlay.DefaultNetConf(c.PodCIDR)
	if c.OverlayBackend != "" {
		conf.Backend.Type = c.OverlayBackend
	}
	return conf, nil
}

// save writes how the node was started.
func (c *Config) save() error {
	n := cluster.Node{
		Name: c.NodeName, Master: c.Join == nil, ClusterDomain: c.ClusterDomain,
		Bridge: c.Bridge, Overlay: c.OverlayBackend, RuntimeEndpoint: c.RuntimeEndpoint, RegistryDir: c.RegistryDir,
		CNIConfDir: c.CNIConfDir, CNIBinDir: c.CNIBinDir,
	}
	if c.GivenIP {
		n.IP = c.NodeIP.String()
	}
	if c.PodCIDR.IsValid() { // a node that is joining has not learnt it yet
		n.PodCIDR, n.ServiceCIDR, n.ClusterDNS = c.PodCIDR.String(), c.ServiceCIDR.String(), c.DNSIP.String()
	}
	if c.Join != nil {
		n.Server = c.Join.Server
	} else {
		n.Server, n.NodePorts, n.APIPort, n.APINames = c.url(c.NodeIP.String()), c.NodePorts.String(), c.APIPort, c.APINames
	}
	return c.Layout.SaveNode(n)
}
