package certs

import (
	"fmt"
	"net"

	"github.com/urfave/cli/v2"
	utilnet "k8s.io/utils/net"

	"hyperkube/internal/pki"
)

func initFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "tls-san", Usage: "further `NAMES` and addresses of the API server"},
		&cli.StringFlag{Name: "service-cluster-ip-range", Value: "10.96.0.0/12", Usage: "`CIDR` of services: its first address is the API server's"},
		&cli.StringFlag{Name: "cluster-domain", Value: "cluster.local", Usage: "DNS `DOMAIN` of the cluster"},
		&cli.StringFlag{Name: "node-name", Usage: "`NAME` of this machine's node: certificates for its kubelet are made too"},
		&cli.StringSliceFlag{Name: "node-ip", Usage: "`IP` of this machine, at which its API server, etcd and kubelet are reached"},
	}
}

func initialize(c *cli.Context) error {
	_, dir, err := places(c)
	if err != nil {
		return err
	}
	o := pki.Options{ClusterDomain: c.String("cluster-domain"), NodeName: c.String("node-name")}
	_, services, err := net.ParseCIDR(c.String("service-cluster-ip-range"))
	if err != nil {
		return fmt.Errorf("--service-cluster-ip-range: %w", err)
	}
	if o.ServiceIP, err = utilnet.GetIndexedIP(services, 1); err != nil {
		return fmt.Errorf("--service-cluster-ip-range: %w", err)
	}
	for _, s := range c.StringSlice("node-ip") {
		ip := net.ParseIP(s)
		if ip == nil {
			return fmt.Errorf("--node-ip: %q is not an IP address", s)
		}
		o.NodeIPs = append(o.NodeIPs, ip)
	}
	for _, s := range c.StringSlice("tls-san") {
		if ip := net.ParseIP(s); ip != nil {
			o.IPs = append(o.IPs, ip)
		} else {
			o.Hosts = append(o.Hosts, s)
		}
	}
	if _, err := pki.Ensure(dir, o); err != nil {
		return err
	}
	return table(c, dir)
}
