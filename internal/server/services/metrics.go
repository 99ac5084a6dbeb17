package services

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// How an address or a port was come by.
const (
	static  = "static"  // asked for
	dynamic = "dynamic" // chosen
)

// metrics have upstream's names.
type metrics struct {
	addresses, addressErrors *prometheus.CounterVec
	duration                 *prometheus.HistogramVec
	ports, portErrors        *prometheus.CounterVec
}

func newMetrics() metrics {
	byRange, scope := []string{"cidr", "scope"}, []string{"scope"}
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return metrics{
		addresses:     counter("kube_apiserver_clusterip_allocator_allocation_total", "Number of Cluster IPs allocations", byRange),
		addressErrors: counter("kube_apiserver_clusterip_allocator_allocation_errors_total", "Number of errors trying to allocate Cluster IPs", byRange),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kube_apiserver_clusterip_allocator_allocation_duration_seconds",
			Help: "Duration in seconds to allocate a Cluster IP by ServiceCIDR", Buckets: prometheus.DefBuckets}, []string{"cidr"}),
		ports:      counter("kube_apiserver_nodeport_allocator_allocation_total", "Number of NodePort allocations", scope),
		portErrors: counter("kube_apiserver_nodeport_allocator_allocation_errors_total", "Number of errors trying to allocate NodePort", scope),
	}
}

var (
	usedDesc = prometheus.NewDesc("kube_apiserver_clusterip_allocator_allocated_ips", "Gauge measuring the number of allocated IPs for Services", []string{"cidr"}, nil)
	freeDesc = prometheus.NewDesc("kube_apiserver_clusterip_allocator_available_ips", "Gauge measuring the number of available IPs for Services", []string{"cidr"}, nil)

	portsDesc     = prometheus.NewDesc("kube_apiserver_nodeport_allocator_allocated_ports", "Gauge measuring the number of allocated NodePorts for Services", nil, nil)
	freePortsDesc = prometheus.NewDesc("kube_apiserver_nodeport_allocator_available_ports", "Gauge measuring the number of available NodePorts for Services", nil, nil)
)

// addressed counts an attempt that began then to get an address, unless it is for a trial. Without one, it is counted to the
// first range of the family.
func (a *Allocator) addressed(t *taking, ip netip.Addr, f corev1.IPFamily, scope string, began time.Time, err error) {
	if t.dry {
		return
	}
	a.mu.Lock()
	ranges := a.poolsOf(f)
	a.mu.Unlock()
	if len(ranges) == 0 {
		return
	}
	cidr := ranges[0]
	for _, r := range ranges {
		if ip.IsValid() && r.Contains(ip) {
			cidr = r
			break
		}
	}
	if err != nil {
		a.metrics.addressErrors.WithLabelValues(cidr.String(), scope).Inc()
		return
	}
	a.metrics.addresses.WithLabelValues(cidr.String(), scope).Inc()
	a.metrics.duration.WithLabelValues(cidr.String()).Observe(time.Since(began).Seconds())
}

// ported counts an attempt to get a node port, unless it is for a trial.
func (a *Allocator) ported(t *taking, scope string, ok bool) {
	switch {
	case t.dry:
	case ok:
		a.metrics.ports.WithLabelValues(scope).Inc()
	default:
		a.metrics.portErrors.WithLabelValues(scope).Inc()
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.addresses, m.addressErrors, m.duration, m.ports, m.portErrors}
}

// Describe implements prometheus.Collector.
func (a *Allocator) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{usedDesc, freeDesc, portsDesc, freePortsDesc} {
		ch <- d
	}
	for _, c := range a.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (a *Allocator) Collect(ch chan<- prometheus.Metric) {
	for _, c := range a.metrics.all() {
		c.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.pools {
		used := 0
		for ip := range a.ips {
			if r.Contains(ip) {
				used++
			}
		}
		gauge(usedDesc, used, r.String())
		gauge(freeDesc, max(hosts(r)-used, 0), r.String())
	}
	gauge(portsDesc, len(a.taken))
	gauge(freePortsDesc, max(a.ports.Size-len(a.taken), 0))
}
