package scenario

import (
	"context"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/system"
)

// proxied measures the service proxy beside a number of services.
func proxied(services int, sync, fresh float64) Scenario {
	const news = 20
	pairs := Figure{Name: fmt.Sprintf("create services with endpoints, towards %d", services), Unit: "pairs/s", Higher: true}
	full := Figure{Name: fmt.Sprintf("start of the service proxy to the last of %d services reachable", services), Unit: "ms", Goal: sync}
	reach := Figure{Name: fmt.Sprintf("new service reachable beside %d, p50", services), Unit: "ms", Goal: fresh}
	return Scenario{
		Name: fmt.Sprintf("proxy-%d", services),
		Sentence: fmt.Sprintf("%d clients make %d services, each with an EndpointSlice of one address; then the proxy is started, with iptables, as a process of its own; then %d more services are "+
			"made, each measured from its creation to the first connection through its cluster IP.", clients, services, news),
		Figures: []Figure{pairs, full, reach}, Limit: 9 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			server, err := net.Listen("tcp", net.JoinHostPort(r.Box.IP, "0"))
			if err != nil {
				return err
			}
			defer server.Close()
			go accept(server)
			port := int32(server.Addr().(*net.TCPAddr).Port)
			all, err := load.Clients(cfg, load.Protobuf, clients)
			if err != nil {
				return err
			}
			if err := all[0].Create(ctx, load.Nodes, "", load.NodeAt(system.NodeName, r.Box.IP)); err != nil {
				return err
			}
			ips := make([]string, services)
			pair := func(ctx context.Context, a *load.API, n int) (err error) {
				ips[n], err = load.Pair(ctx, a, namespace, n, r.Box.IP, port)
				return err
			}
			t, err := load.Parallel(ctx, all, services, pair)
			if err != nil {
				return err
			}
			r.Record(pairs.Name, t.Rate())
			began := time.Now()
			if err := r.System.StartPart(ctx, system.Proxy); err != nil {
				return err
			}
			// In what order they become reachable is the proxy's own: the last is found by asking for each.
			for _, ip := range ips {
				if err := reachable(ctx, ip); err != nil {
					return err
				}
			}
			r.Record(full.Name, milliseconds(time.Since(began)))
			var each []time.Duration
			for n := range news {
				at := time.Now()
				ip, err := load.Pair(ctx, all[0], namespace, services+n, r.Box.IP, port)
				if err != nil {
					return err
				}
				if err := reachable(ctx, ip); err != nil {
					return err
				}
				each = append(each, time.Since(at))
			}
			r.Record(reach.Name, milliseconds(load.Quantile(each, 0.5)))
			return nil
		}),
	}
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // The listener was closed.
		}
		c.Close()
	}
}

// reachable returns when a connection through a cluster IP comes about. An attempt gets no answer at all while there are no rules,
// so it is given up soon and made anew.
func reachable(ctx context.Context, ip string) error {
	d := net.Dialer{Timeout: 3 * time.Millisecond}
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(ip, "80"))
		if err == nil {
			return c.Close()
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not reachable: %w", ip, err)
		}
	}
}
