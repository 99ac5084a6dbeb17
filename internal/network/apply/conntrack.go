package apply

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

type flowFilter func(*netlink.ConntrackFlow) bool

func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool { return f(flow) }

// ForgetFlows deletes the tracked connections for which match is true. It reads the whole table of the family once.
func ForgetFlows(family Family, match func(*netlink.ConntrackFlow) bool) error {
	inet := netlink.InetFamily(unix.AF_INET)
	if family == IPv6 {
		inet = unix.AF_INET6
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, inet, flowFilter(match)); err != nil {
		return fmt.Errorf("tracked %v connections: %w", family, err)
	}
	return nil
}
