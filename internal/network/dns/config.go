package dns

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TTL is how long resolvers may keep an answer about the cluster.
const TTL = 5 * time.Second

// Config of a [Server]. Only BindAddresses has no default.
type Config struct {
	// BindAddresses are where to serve, UDP and TCP. They need not exist yet.
	BindAddresses []netip.Addr
	// Port is 53 by default.
	Port uint16
	// Domain is the cluster's domain, cluster.local by default.
	Domain string
	// NodeName is the Node on which the server announces itself; empty: it does not.
	NodeName string
	// ClusterIP is the address of the Service kube-system/kube-dns, behind which the server may be one of several.
	ClusterIP netip.Addr
	// ResolvConf names the node's resolvers, /etc/resolv.conf by default. Upstreams replace it: addresses with or without port.
	ResolvConf string
	Upstreams  []string
	// CacheSize is how many answers of upstream resolvers are kept, 10,000 by default.
	CacheSize int
	// Log is slog.Default by default.
	Log *slog.Logger
}

func (c *Config) complete() error {
	if len(c.BindAddresses) == 0 {
		return errors.New("dns: an address to serve at is needed")
	}
	if c.Port == 0 {
		c.Port = 53
	}
	if c.Domain == "" {
		c.Domain = "cluster.local"
	}
	c.Domain = strings.ToLower(dns.Fqdn(c.Domain))
	if _, ok := dns.IsDomainName(c.Domain); !ok || c.Domain == "." {
		return fmt.Errorf("dns: %q is not a domain", c.Domain)
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	for _, u := range c.Upstreams {
		if _, err := upstreamAddress(u, "53"); err != nil {
			return fmt.Errorf("dns: upstream %q: %w", u, err)
		}
	}
	if c.CacheSize <= 0 {
		c.CacheSize = 10000
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "dns")
	return nil
}
