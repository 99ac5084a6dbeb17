package services

import (
	"context"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"hyperkube/internal/object"
	"hyperkube/internal/server/apitest"
)

func allocator(t *testing.T, cidrs ...string) *Allocator {
	t.Helper()
	var nets []*net.IPNet
	for _, c := range cidrs {
		_, n, err := net.ParseCIDR(c)
		if err != nil {
			t.Fatal(err)
		}
		nets = append(nets, n)
	}
	return run(t, apitest.New(nil), nets)
}

// run is an allocator at work on an API.
func run(t *testing.T, api *apitest.API, nets []*net.IPNet) *Allocator {
	t.Helper()
	a, err := New(api, nets, utilnet.PortRange{Base: 30000, Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-a.ready
	return a
}

func service(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	s.Spec.Type = corev1.ServiceTypeClusterIP
	s.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

// write runs the hook and commits, as the server does for a write that is stored.
func write(a *Allocator, s, old *corev1.Service) error {
	var was object.Object
	if old != nil {
		was = old
	}
	commit, _, err := a.Hook(context.Background(), s, was, false)
	if err == nil && commit != nil {
		commit()
	}
	return err
}

func TestRangeIsUsedUpAndFreed(t *testing.T) {
	a := allocator(t, "10.0.0.0/29") // 6 addresses
	var all []*corev1.Service
	seen := map[string]bool{}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		s := service(n, nil)
		if err := write(a, s, nil); err != nil {
			t.Fatal(err)
		}
		if seen[s.Spec.ClusterIP] || s.Spec.ClusterIPs[0] != s.Spec.ClusterIP {
			t.Fatalf("%s given twice, or lists differ: %v", s.Spec.ClusterIP, s.Spec.ClusterIPs)
		}
		seen[s.Spec.ClusterIP] = true
		all = append(all, s)
	}
	if seen["10.0.0.0"] || seen["10.0.0.7"] {
		t.Fatal("the network or broadcast address was given")
	}
	if err := write(a, service("g", nil), nil); err == nil || !strings.Contains(err.Error(), "failed to allocate a serviceIP: range is full") {
		t.Fatal(err)
	}
	commit, _, err := a.Hook(context.Background(), nil, all[2], false)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	s := service("g", nil)
	if err := write(a, s, nil); err != nil || s.Spec.ClusterIP != all[2].Spec.ClusterIP {
		t.Fatal(s.Spec.ClusterIP, err)
	}
}

func TestAskedAddresses(t *testing.T) {
	a := allocator(t, "10.0.0.0/24")
	ask := func(name, ip string) error {
		return write(a, service(name, func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = ip, []string{ip} }), nil)
	}
	if err := ask("a", "10.0.0.10"); err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]string{
		"10.0.0.10":  "provided IP is already allocated",
		"10.1.0.1":   "the provided network does not match the current range",
		"10.0.0.255": "the provided network does not match the current range",
		"fd00::1":    "IPv6 is not configured on this cluster",
	} {
		if err := ask("b", ip); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ip, err, want)
		}
	}
	if err := ask("c", corev1.ClusterIPNone); err != nil {
		t.Error(err)
	}
}

func TestDryRunAndRollbackKeepNothing(t *testing.T) {
	a := allocator(t, "10.0.0.0/24")
	if _, _, err := a.Hook(context.Background(), service("a", nil), nil, true); err != nil {
		t.Fatal(err)
	}
	_, rollback, err := a.Hook(context.Background(), service("a", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	rollback()
	if len(a.ips) != 0 || len(a.taken) != 0 {
		t.Fatalf("kept %v %v", a.ips, a.taken)
	}
}

func TestNodePorts(t *testing.T) {
	a := allocator(t, "10.0.0.0/24")
	both := service("a", func(s *corev1.ServiceSpec) {
		s.Type = corev1.ServiceTypeNodePort
		s.Ports = []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolTCP}, {Port: 53, Protocol: corev1.ProtocolUDP}}
	})
	if err := write(a, both, nil); err != nil {
		t.Fatal(err)
	}
	if p := both.Spec.Ports; p[0].NodePort == 0 || p[0].NodePort != p[1].NodePort {
		t.Fatalf("node ports %d and %d; two protocols of one port share one", p[0].NodePort, p[1].NodePort)
	}
	ask := func(n int32) error {
		return write(a, service("b", func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, n }), nil)
	}
	if err := ask(both.Spec.Ports[0].NodePort); err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Error(err)
	}
	if err := ask(80); err == nil || !strings.Contains(err.Error(), "The range of valid ports is 30000-30002") {
		t.Error(err)
	}
	next := both.DeepCopy()
	next.Spec.Type = corev1.ServiceTypeClusterIP
	if err := write(a, next, both); err != nil || next.Spec.Ports[0].NodePort != 0 || len(a.taken) != 0 {
		t.Fatal(err, next.Spec.Ports, a.taken)
	}
	if next.Spec.ClusterIP != both.Spec.ClusterIP {
		t.Fatal("a change of type changed the cluster IP")
	}
}

func TestDualStack(t *testing.T) {
	a := allocator(t, "10.0.0.0/24", "fd00::/112")
	prefer := corev1.IPFamilyPolicyPreferDualStack
	s := service("a", func(s *corev1.ServiceSpec) { s.IPFamilyPolicy = &prefer })
	if err := write(a, s, nil); err != nil || len(s.Spec.ClusterIPs) != 2 || !strings.HasPrefix(s.Spec.ClusterIPs[1], "fd00::") {
		t.Fatal(err, s.Spec.ClusterIPs)
	}
	one := service("b", nil)
	if err := write(a, one, nil); err != nil || len(one.Spec.ClusterIPs) != 1 || *one.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		t.Fatal(err, one.Spec)
	}
	single := allocator(t, "10.0.0.0/24")
	require := corev1.IPFamilyPolicyRequireDualStack
	if err := write(single, service("c", func(s *corev1.ServiceSpec) { s.IPFamilyPolicy = &require }), nil); err == nil {
		t.Fatal("dual stack on a cluster of one family")
	}
}
