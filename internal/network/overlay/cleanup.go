package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// Cleanup removes everything that an [Overlay] with this configuration made in the kernel and on disk. None may run
// meanwhile. The Node's annotations stay. Only NetConf, Device and SubnetFile are read.
func Cleanup(ctx context.Context, cfg Config) error {
	cfg.NetConf.complete()
	if cfg.Device == "" {
		cfg.Device = fmt.Sprintf("flannel.%d", cfg.NetConf.Backend.VNI)
	}
	errs := []error{cleanRules(ctx)}
	var missing netlink.LinkNotFoundError
	if link, err := netlink.LinkByName(cfg.Device); err == nil && link.Type() == "vxlan" {
		errs = append(errs, netlink.LinkDel(link)) // its routes and neighbours go with it
	} else if err != nil && !errors.As(err, &missing) {
		errs = append(errs, err)
	}
	if cfg.SubnetFile != "" {
		if err := os.Remove(cfg.SubnetFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if (cfg.NetConf.Backend.Type == BackendHostGW || cfg.NetConf.Backend.DirectRouting) && cfg.NetConf.Network.IsValid() {
		errs = append(errs, cleanHostRoutes(cfg.NetConf.Network))
	}
	return errors.Join(errs...)
}

// cleanHostRoutes removes the plain routes to other nodes' subnets.
func cleanHostRoutes(cluster netip.Prefix) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	var errs []error
	for i := range routes {
		if routes[i].Gw != nil && inRange(routes[i].Dst, cluster) {
			errs = append(errs, netlink.RouteDel(&routes[i]))
		}
	}
	return errors.Join(errs...)
}
