package node

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/node/server"
	"hyperkube/internal/node/stats"
)

// servers opens the listeners and gives what serves them.
func (k *Kubelet) servers() ([]func(context.Context) error, error) {
	var out []func(context.Context) error
	var opened []net.Listener
	add := func(addr string, serve func(ctx context.Context, l net.Listener) error) error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, o := range opened {
				o.Close()
			}
			return fmt.Errorf("kubelet: %w", err)
		}
		opened = append(opened, l)
		out = append(out, func(ctx context.Context) (err error) {
			if l == nil { // a second time, after an error
				if l, err = net.Listen("tcp", addr); err != nil {
					return err
				}
			}
			used := l
			l = nil
			return serve(ctx, used)
		})
		return nil
	}
	if k.cfg.HealthzAddress != "" {
		h := server.Healthz(k.healthy)
		if err := add(k.cfg.HealthzAddress, func(ctx context.Context, l net.Listener) error { return server.Serve(ctx, l, h, nil) }); err != nil {
			return nil, err
		}
	}
	if k.cfg.Server == nil && k.cfg.ReadOnlyAddress == "" {
		return out, nil
	}
	sc := k.serverConfig()
	if k.cfg.Server != nil {
		h := server.New(sc)
		addr := net.JoinHostPort(sc.Address, strconv.Itoa(int(sc.Port)))
		if err := add(addr, func(ctx context.Context, l net.Listener) error { return server.Serve(ctx, l, h, &sc.TLS) }); err != nil {
			return nil, err
		}
	}
	if k.cfg.ReadOnlyAddress != "" {
		h := server.ReadOnly(sc)
		if err := add(k.cfg.ReadOnlyAddress, func(ctx context.Context, l net.Listener) error { return server.Serve(ctx, l, h, nil) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (k *Kubelet) serverConfig() server.Config {
	var sc server.Config
	if k.cfg.Server != nil {
		sc = *k.cfg.Server
	}
	src := &stats.Source{CRI: k.cfg.CRI, NodeName: k.cfg.NodeName, RootDir: k.cfg.RootDir, Memory: k.node.MemoryCapacity, Pods: k.pods.Pods, Seen: k.pods.Seen}
	if k.groups != nil {
		src.Cgroups = k.groups
	}
	sc.Pods, sc.CRI, sc.Stats = k.pods, k.cfg.CRI, src.Summary
	sc.CAdvisor, sc.Resource, sc.Probes = src.CAdvisor(), src.Resource(), k.pods.ProbeMetrics()
	sc.Metrics, sc.Configz, sc.Healthy = k.metrics(), k.cfg.ConfigForPeople, k.healthy
	return sc
}

// healthy says whether the kubelet can do its work. A node that is not Ready is healthy: it says so in its status.
func (k *Kubelet) healthy() error {
	if k.ctx.Err() != nil {
		return k.ctx.Err()
	}
	return nil
}

// metrics of the kubelet itself, under upstream's names.
func (k *Kubelet) metrics() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubelet_node_name", Help: "The node's name. The count is always 1.", ConstLabels: prometheus.Labels{"node": k.cfg.NodeName},
	}, func() float64 { return 1 }))
	gauge := func(name, help string, f func(p *corev1.Pod) int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			n := 0
			for _, p := range k.pods.Pods() {
				n += f(p)
			}
			return float64(n)
		}))
	}
	gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox", func(p *corev1.Pod) int {
		if k.pods.Seen(p.UID).ReadySandbox() != nil {
			return 1
		}
		return 0
	})
	r.MustRegister(states{k}, k.eviction.Ended())
	if k.cfg.Requests != nil {
		r.MustRegister(k.cfg.Requests)
	}
	for _, c := range k.cfg.CRI.Metrics() {
		r.MustRegister(c)
	}
	gauge("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run", func(*corev1.Pod) int { return 1 })
	for _, c := range k.pods.Metrics() {
		r.MustRegister(c)
	}
	return r
}
