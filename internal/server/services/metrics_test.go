package services

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
)

func TestMetrics(t *testing.T) {
	a := allocator(t, "10.0.0.0/29")
	ask := func(name, ip string, port int32) error {
		return write(a, service(name, func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.ClusterIPs = ip, []string{ip}
			if port >= 0 {
				s.Type, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, port
			}
		}), nil)
	}
	for _, err := range []error{ask("asked", "10.0.0.2", 30001), write(a, service("chosen", nil), nil), write(a, service("port", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }), nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	outside := service("outside", func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, 29999 })
	if ask("held", "10.0.0.2", -1) == nil || write(a, outside, nil) == nil {
		t.Error("got what cannot be had")
	}
	_, rollback, err := a.Hook(context.Background(), service("trial", nil), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if rollback != nil {
		rollback()
	}
	const want = `
# HELP kube_apiserver_clusterip_allocator_allocated_ips Gauge measuring the number of allocated IPs for Services
# TYPE kube_apiserver_clusterip_allocator_allocated_ips gauge
kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.0.0.0/29"} 3
# HELP kube_apiserver_clusterip_allocator_allocation_errors_total Number of errors trying to allocate Cluster IPs
# TYPE kube_apiserver_clusterip_allocator_allocation_errors_total counter
kube_apiserver_clusterip_allocator_allocation_errors_total{cidr="10.0.0.0/29",scope="static"} 1
# HELP kube_apiserver_clusterip_allocator_allocation_total Number of Cluster IPs allocations
# TYPE kube_apiserver_clusterip_allocator_allocation_total counter
kube_apiserver_clusterip_allocator_allocation_total{cidr="10.0.0.0/29",scope="dynamic"} 3
kube_apiserver_clusterip_allocator_allocation_total{cidr="10.0.0.0/29",scope="static"} 1
# HELP kube_apiserver_clusterip_allocator_available_ips Gauge measuring the number of available IPs for Services
# TYPE kube_apiserver_clusterip_allocator_available_ips gauge
kube_apiserver_clusterip_allocator_available_ips{cidr="10.0.0.0/29"} 3
# HELP kube_apiserver_nodeport_allocator_allocated_ports Gauge measuring the number of allocated NodePorts for Services
# TYPE kube_apiserver_nodeport_allocator_allocated_ports gauge
kube_apiserver_nodeport_allocator_allocated_ports 2
# HELP kube_apiserver_nodeport_allocator_allocation_errors_total Number of errors trying to allocate NodePort
# TYPE kube_apiserver_nodeport_allocator_allocation_errors_total counter
kube_apiserver_nodeport_allocator_allocation_errors_total{scope="static"} 1
# HELP kube_apiserver_nodeport_allocator_allocation_total Number of NodePort allocations
# TYPE kube_apiserver_nodeport_allocator_allocation_total counter
kube_apiserver_nodeport_allocator_allocation_total{scope="dynamic"} 1
kube_apiserver_nodeport_allocator_allocation_total{scope="static"} 1
# HELP kube_apiserver_nodeport_allocator_available_ports Gauge measuring the number of available NodePorts for Services
# TYPE kube_apiserver_nodeport_allocator_available_ports gauge
kube_apiserver_nodeport_allocator_available_ports 1
`
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(a)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		if f.GetType() == dto.MetricType_HISTOGRAM {
			if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); n != 4 {
				t.Errorf("%d times that allocations took", n)
			}
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != want[1:] {
		t.Errorf("got\n%s", got.String())
	}
}
