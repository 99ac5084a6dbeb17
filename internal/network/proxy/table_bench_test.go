package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/nettest"
	"hyperkube/internal/network/plan"
)

func benchState(i int, endpoints ...string) state {
	name := fmt.Sprintf("svc-%d", i)
	s := state{key: serviceKey{"bench", name}, service: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "bench", Name: name},
		Spec: corev1.ServiceSpec{ClusterIP: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String(),
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
	}}
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)}}}
	for _, e := range endpoints {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{e}})
	}
	s.slices = []*discoveryv1.EndpointSlice{slice}
	return s
}

func benchTable(b *testing.B, services int) (*table, []state) {
	b.Helper()
	nettest.Need(b)
	tools, err := apply.Detect(context.Background(), apply.IPv4)
	if err != nil {
		b.Fatal(err)
	}
	t := newTable(tools, slog.Default())
	states := make([]state, services)
	for i := range states {
		states[i] = benchState(i, fmt.Sprintf("10.244.%d.%d", i>>8, i&255))
	}
	return t, states
}

func benchConfig() plan.Config {
	return plan.Config{MasqueradeBit: 14, RandomFully: true, LocalhostNodePorts: true, Node: plan.Node{Name: "n"},
		Local: plan.LocalDetector{CIDR: netip.MustParsePrefix("10.244.0.0/16")}}
}

// BenchmarkFirstSync writes all rules into empty tables.
func BenchmarkFirstSync(b *testing.B) {
	t, states := benchTable(b, 10000)
	for b.Loop() {
		b.StopTimer()
		if err := Cleanup(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResync finds all rules as an earlier process left them.
func BenchmarkResync(b *testing.B) {
	t, states := benchTable(b, 10000)
	if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServiceAppears makes one service with an endpoint among 10,000, and takes it away outside of the measurement.
func BenchmarkServiceAppears(b *testing.B) {
	t, states := benchTable(b, 10000)
	if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
		b.Fatal(err)
	}
	one, none := benchState(20000, "10.244.200.1"), benchState(20000)
	for b.Loop() {
		if _, err := t.update(context.Background(), []state{one}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		none.service = nil
		if _, err := t.update(context.Background(), []state{none}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkServiceDisappears is the other half.
func BenchmarkServiceDisappears(b *testing.B) {
	t, states := benchTable(b, 10000)
	if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
		b.Fatal(err)
	}
	one, none := benchState(20000, "10.244.200.1"), benchState(20000)
	none.service = nil
	for b.Loop() {
		b.StopTimer()
		if _, err := t.update(context.Background(), []state{one}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := t.update(context.Background(), []state{none}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEndpointsChange gives one service of 10,000 other endpoints.
func BenchmarkEndpointsChange(b *testing.B) {
	t, states := benchTable(b, 10000)
	if _, err := t.full(context.Background(), benchConfig(), states); err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		s := benchState(5000, "10.244.200.1", fmt.Sprintf("10.244.201.%d", i%250))
		if _, err := t.update(context.Background(), []state{s}); err != nil {
			b.Fatal(err)
		}
	}
}
