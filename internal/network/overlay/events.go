package overlay

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelEvents tells when interfaces, addresses, routes or neighbours are taken away.
type kernelEvents struct {
	lost chan struct{}

	mu      sync.Mutex
	links   map[int]bool
	overrun bool // events were lost: anything may have happened
}

func watchKernel(ctx context.Context) (*kernelEvents, error) {
	e := &kernelEvents{lost: make(chan struct{}, 1), links: map[int]bool{}}
	onError := func(error) { e.note(0, true) }
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
	go e.read(ctx, links, addrs, routes, neighs)
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
				e.note(int(u.Index), false)
			}
		case u, ok := <-addrs:
			if !ok {
				addrs = nil
			} else if !u.NewAddr {
				e.note(u.LinkIndex, false)
			}
		case u, ok := <-routes:
			if !ok {
				routes = nil
			} else if u.Type == unix.RTM_DELROUTE {
				e.note(u.LinkIndex, false)
			}
		case u, ok := <-neighs:
			if !ok {
				neighs = nil
			} else if u.Type == unix.RTM_DELNEIGH {
				e.note(u.LinkIndex, false)
			}
		}
	}
}

func (e *kernelEvents) note(link int, overrun bool) {
	e.mu.Lock()
	e.links[link] = true
	e.overrun = e.overrun || overrun
	e.mu.Unlock()
	select {
	case e.lost <- struct{}{}:
	default:
	}
}

// concern takes the events noted so far and tells whether one is about what k needs and is not k's own doing any more to find.
func (e *kernelEvents) concern(k *kernel) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	hit := e.overrun || e.links[k.dev] || e.links[k.uplink.index] && k.plainRoutes()
	clear(e.links)
	e.overrun = false
	return hit
}

// plainRoutes tells whether some peer is reached without the tunnel.
func (k *kernel) plainRoutes() bool { return k.backend.Type == BackendHostGW || k.backend.DirectRouting }
