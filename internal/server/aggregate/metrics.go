package aggregate

import (
	"github.com/prometheus/client_golang/prometheus"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// metrics have upstream's names.
type metrics struct {
	now   *prometheus.GaugeVec
	total *prometheus.CounterVec
}

func newMetrics() metrics {
	return metrics{
		now: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aggregator_unavailable_apiservice",
			Help: "Gauge of APIServices which are marked as unavailable broken down by APIService name."}, []string{"name"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aggregator_unavailable_apiservice_total",
			Help: "Counter of APIServices which are marked as unavailable broken down by APIService name and reason."}, []string{"name", "reason"}),
	}
}

func (m metrics) count(name string, cond condition) {
	if cond.Status == apiregistrationv1.ConditionTrue {
		m.now.WithLabelValues(name).Set(0)
		return
	}
	m.now.WithLabelValues(name).Set(1)
	m.total.WithLabelValues(name, cond.Reason).Inc()
}

func (m metrics) forget(name string) { m.now.DeleteLabelValues(name) }

// Collectors are the metrics, to be registered.
func (a *Aggregator) Collectors() []prometheus.Collector {
	return []prometheus.Collector{a.metrics.now, a.metrics.total}
}
