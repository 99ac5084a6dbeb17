package overlay

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hyperkube/internal/lifecycle"
)

// kernelEvents tells when interfaces, addresses, routes or neighbours are taken away.
type kernelEvents struct {
	lost chan struct{}

	mu      sync.Mutex
	gone    []loss
	overrun bool // events were lost: anything may have happened
}

// loss is one thing that was taken away from an interface.
type loss struct {
	link  int
	down  bool       // the interface itself was down, maybe only while it was being made
	route *net.IPNet // the destination, of a route
	neigh net.IP     // the address, of a neighbour or forwarding entry
}

func watchKernel(ctx context.Context) (*kernelEvents, error) {
	e := &kernelEvents{lost: make(chan struct{}, 1)}
	onError := func(error) { e.note(loss{}, true) }
	links := make(chan netlink.LinkUpdate, 64)
	addrs := make(chan netlink.AddrUpdate, 64)
	routes := make(chan netlink.RouteUpdate, 64)
	neighs := make(chan netlink.NeighUpdate, 64)
	done := ctx.Done()
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: onError}); err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: onError}); err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	if err := netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ErrorCallback: onError}); err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	if err := netlink.NeighSubscribeWithOptions(neighs, done, netlink.NeighSubscribeOptions{ErrorCallback: onError}); err != nil {
		return nil, fmt.Errorf("watch neighbours: %w", err)
	}
	go func() {
		_ = lifecycle.Persist(ctx, "flannel", func(ctx context.Context) error { e.read(ctx, links, addrs, routes, neighs); return nil })
	}()
	return e, nil
}

func (e *kernelEvents) read(ctx context.Context, links chan netlink.LinkUpdate, addrs chan netlink.AddrUpdate, routes chan netlink.RouteUpdate, neighs chan netlink.NeighUpdate) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-links:
			if !ok {
				links = nil
			} else if u.Header.Type == unix.RTM_DELLINK || u.Attrs().Flags&net.FlagUp == 0 {
				e.note(loss{link: int(u.Index), down: u.Header.Type != unix.RTM_DELLINK}, false)
			}
		case u, ok := <-addrs:
			if !ok {
				addrs = nil
			} else if !u.NewAddr {
				e.note(loss{link: u.LinkIndex}, false)
			}
		case u, ok := <-routes:
			if !ok {
				routes = nil
			} else if u.Type == unix.RTM_DELROUTE && u.Dst != nil {
				e.note(loss{link: u.LinkIndex, route: u.Dst}, false)
			}
		case u, ok := <-neighs:
			if !ok {
				neighs = nil
			} else if u.Type == unix.RTM_DELNEIGH && u.IP != nil {
				e.note(loss{link: u.LinkIndex, neigh: u.IP}, false)
			}
		}
	}
}

func (e *kernelEvents) note(l loss, overrun bool) {
	e.mu.Lock()
	e.gone = append(e.gone, l)
	e.overrun = e.overrun || overrun
	e.mu.Unlock()
	select {
	case e.lost <- struct{}{}:
	default:
	}
}

// concern takes the losses noted so far and tells whether k needs one of the things. What k removed itself leads to no
// peer any more, and so is not among them.
func (e *kernelEvents) concern(k *kernel) bool {
	e.mu.Lock()
	gone, overrun := e.gone, e.overrun
	e.gone, e.overrun = nil, false
	e.mu.Unlock()
	for _, l := range gone {
		if k.needs(l) {
			return true
		}
	}
	return overrun
}

func (k *kernel) needs(l loss) bool {
	tunnel := k.backend.Type == BackendVXLAN && l.link == k.dev
	if l.route == nil && l.neigh == nil {
		if !tunnel && l.link != k.uplink.index {
			return false
		}
		link, err := netlink.LinkByIndex(l.link)
		return !l.down || err != nil || link.Attrs().Flags&net.FlagUp == 0
	}
	for _, p := range k.peers {
		if k.tunnelled(p) != tunnel || !tunnel && l.link != k.uplink.index {
			continue
		}
		if l.route != nil && l.route.String() == p.subnet.String() {
			return true
		}
		if l.neigh != nil && tunnel && (l.neigh.Equal(p.subnet.Addr().AsSlice()) || l.neigh.Equal(p.publicIP.AsSlice())) {
			return true
		}
	}
	return false
}
