package controllermanager

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hyperkube/internal/health"
	"hyperkube/internal/secureport"
)

// serve answers on the secure port until ctx ends.
func (r *Role) serve(ctx context.Context) error {
	cfg := r.cfg.Serving
	cfg.Component = "kube-controller-manager"
	reg := r.metrics
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &managed{r}, r.queues, &r.who.requests)
	var checks []health.Check
	for _, e := range r.chosen {
		checks = append(checks, health.Check{Name: e.name, Func: func(context.Context) error {
			m := r.leading.Load()
			if m == nil || !m.Has(e.name) {
				return nil // another manager leads, or the controller has nothing to do
			}
			return m.Health(e.name)
		}})
	}
	return secureport.Serve(ctx, cfg, r.who.manager, reg, checks...)
}

// managed tells in metrics which controllers run and whether this manager leads. Names are upstream's.
type managed struct{ r *Role }

var (
	leadingDesc = prometheus.NewDesc("leader_election_master_status", "Gauge of if the reporting system is the leader of the relevant lease, 0 indicates backup, 1 indicates leader.", []string{"name"}, nil)
	runningDesc = prometheus.NewDesc("running_managed_controllers", "Indicates where instances of a controller are currently running", []string{"manager", "name"}, nil)
)

func (m *managed) Describe(ch chan<- *prometheus.Desc) {
	ch <- leadingDesc
	ch <- runningDesc
}

func (m *managed) Collect(ch chan<- prometheus.Metric) {
	running := m.r.leading.Load()
	leads := 0.0
	if running != nil {
		leads = 1
		for _, name := range running.Names() {
			up := 0.0
			if running.Health(name) == nil {
				up = 1
			}
			ch <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, up, "kube-controller-manager", name)
		}
	}
	ch <- prometheus.MustNewConstMetric(leadingDesc, prometheus.GaugeValue, leads, m.r.cfg.LeaderElection.Name)
}
