package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/nettest"
	"hyperkube/internal/network/plan"
)

// world is a node (the test process's namespace) with three pods and a client outside of the cluster.
type world struct {
	t      *testing.T
	tables *table
	pods   [3]*nettest.NS
	client *nettest.NS
	node   *nettest.NS // nil: the process itself
}

const (
	nodeIP    = "192.0.2.1"
	clientIP  = "192.0.2.9"
	clusterIP = "10.96.0.50"
)

func podIP(i int) string { return fmt.Sprintf("10.244.1.%d", i+2) }

func newWorld(t *testing.T) *world {
	t.Helper()
	nettest.Need(t)
	w := &world{t: t}
	for i := range w.pods {
		w.pods[i] = nettest.New(t)
		w.pods[i].Plug(t, fmt.Sprintf("pod%d", i), podIP(i), "10.244.1.1")
		for _, network := range []string{"tcp", "udp"} {
			w.pods[i].Listen(t, network, podIP(i)+":8080", fmt.Sprintf("pod%d", i))
		}
	}
	w.client = nettest.New(t)
	w.client.Plug(t, "client", clientIP, nodeIP)
	link, err := netlink.LinkByName("client")
	require.NoError(t, err)
	// As on any node the way to service addresses is the default route, until they are translated.
	require.NoError(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(clientIP)}))
	require.NoError(t, apply.Sysctl("net/ipv4/ip_forward", "1"))
	require.NoError(t, apply.Sysctl("net/ipv4/conf/all/route_localnet", "1"))
	require.NoError(t, apply.Sysctl("net/ipv4/icmp_ratelimit", "0")) // refusals are messages of ICMP
	tools, err := apply.Detect(context.Background(), apply.IPv4)
	require.NoError(t, err)
	w.tables = newTable(tools, slog.Default())
	w.full()
	t.Cleanup(func() {
		require.NoError(t, Cleanup(context.Background()))
		out, err := exec.Command("iptables-save").Output()
		require.NoError(t, err)
		require.NotContains(t, string(out), "KUBE-")
	})
	return w
}

func (w *world) config() plan.Config {
	return plan.Config{MasqueradeBit: 14, RandomFully: w.tables.tools.RandomFully, LocalhostNodePorts: true,
		Node: plan.Node{Name: "here"}, NodeIPs: []netip.Addr{netip.MustParseAddr(nodeIP)},
		Local: plan.LocalDetector{CIDR: netip.MustParsePrefix("10.244.0.0/16")}}
}

func (w *world) full(states ...state) {
	w.t.Helper()
	done, err := w.tables.full(context.Background(), w.config(), states)
	require.NoError(w.t, err)
	require.NoError(w.t, forgetStale(apply.IPv4, done, true))
}

func (w *world) update(states ...state) {
	w.t.Helper()
	done, err := w.tables.update(context.Background(), states)
	require.NoError(w.t, err)
	require.NoError(w.t, forgetStale(apply.IPv4, done, false))
}

// service is web with TCP and UDP on port 80, and endpoints on some pods; change may alter it.
func service(pods []int, change func(*corev1.Service)) state {
	s := state{key: serviceKey{"default", "web"}, service: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: clusterIP, Ports: []corev1.ServicePort{
			{Name: "t", Port: 80, NodePort: 30080, Protocol: corev1.ProtocolTCP},
			{Name: "u", Port: 80, NodePort: 30081, Protocol: corev1.ProtocolUDP},
		}},
	}}
	if change != nil {
		change(s.service)
	}
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{
		{Name: ptr.To("t"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)},
		{Name: ptr.To("u"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolUDP)},
	}}
	for _, i := range pods {
		node := "elsewhere"
		if i == 0 {
			node = "here"
		}
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{podIP(i)}, NodeName: &node})
	}
	s.slices = []*discoveryv1.EndpointSlice{slice}
	return s
}

var dialer = net.Dialer{Timeout: 2 * time.Second}

// ask gives the name of the pod that answers and the address that it saw.
func (w *world) ask(from *nettest.NS, network, to string) (name, source string, err error) {
	got, err := from.Ask(dialer, network, to)
	name, source, _ = strings.Cut(got, " ")
	return name, source, err
}

func (w *world) expect(from *nettest.NS, network, to, name, source string) {
	w.t.Helper()
	gotName, gotSource, err := w.ask(from, network, to)
	require.NoError(w.t, err, "%s to %s", network, to)
	if name != "" {
		require.Equal(w.t, name, gotName, "%s to %s", network, to)
	}
	if source != "" {
		require.Equal(w.t, source, gotSource, "%s to %s", network, to)
	}
}

func TestClusterIPAndNodePort(t *testing.T) {
	w := newWorld(t)
	w.update(service([]int{1}, nil))
	for _, network := range []string{"tcp", "udp"} {
		w.expect(w.pods[0], network, clusterIP+":80", "pod1", podIP(0))     // between pods the source stays
		w.expect(w.node, network, clusterIP+":80", "pod1", "")              // from the node
		w.expect(w.pods[1], network, clusterIP+":80", "pod1", "10.244.1.1") // a pod that reaches itself
		w.expect(w.client, network, clusterIP+":80", "pod1", "10.244.1.1")  // from outside, masqueraded
		port := map[string]string{"tcp": ":30080", "udp": ":30081"}[network]
		w.expect(w.client, network, nodeIP+port, "pod1", "10.244.1.1")
		w.expect(w.pods[0], network, nodeIP+port, "pod1", "10.244.1.1")
		w.expect(w.node, network, nodeIP+port, "pod1", "")
		w.expect(w.node, network, "127.0.0.1"+port, "pod1", "10.244.1.1")
	}
}

func TestEveryEndpointGetsItsShare(t *testing.T) {
	w := newWorld(t)
	w.update(service([]int{0, 1, 2}, nil))
	got := map[string]int{}
	for range 60 {
		name, _, err := w.ask(w.node, "tcp", clusterIP+":80")
		require.NoError(t, err)
		got[name]++
	}
	require.Len(t, got, 3, "%v", got) // the chance of missing one is 3·(2/3)^60
}

func TestSessionAffinityCanBeSwitched(t *testing.T) {
	w := newWorld(t)
	sticky := func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }
	w.update(service([]int{0, 1, 2}, sticky))
	count := func(from *nettest.NS, to string) int {
		got := map[string]bool{}
		for range 40 {
			name, _, err := w.ask(from, "tcp", to)
			require.NoError(t, err)
			got[name] = true
		}
		return len(got)
	}
	require.Equal(t, 1, count(w.client, nodeIP+":30080"))
	require.Equal(t, 1, count(w.pods[0], clusterIP+":80"))
	w.update(service([]int{0, 1, 2}, nil))
	require.Equal(t, 3, count(w.client, nodeIP+":30080"))
	w.update(service([]int{0, 1, 2}, sticky))
	require.Equal(t, 1, count(w.client, nodeIP+":30080"))
}

func TestWithoutEndpointsConnectionsAreRefused(t *testing.T) {
	w := newWorld(t)
	refused := func(from *nettest.NS, network, to string) {
		t.Helper()
		began := time.Now()
		_, _, err := w.ask(from, network, to)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "%s to %s", network, to)
		require.Less(t, time.Since(began), dialer.Timeout)
	}
	check := func() {
		t.Helper()
		refused(w.pods[0], "tcp", clusterIP+":80")
		refused(w.pods[0], "udp", clusterIP+":80")
		refused(w.node, "tcp", clusterIP+":80")
		refused(w.client, "tcp", nodeIP+":30080")
	}
	w.update(service(nil, nil))
	check()
	w.update(service([]int{1}, nil))
	w.expect(w.pods[0], "tcp", clusterIP+":80", "pod1", "")
	w.update(service(nil, nil))
	check()
}

func TestARemovedServiceOrPortDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	with := service([]int{1}, nil)
	w.update(with)
	w.expect(w.pods[0], "udp", clusterIP+":80", "pod1", "")
	w.update(service([]int{1}, func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:1] }))
	short := net.Dialer{Timeout: 300 * time.Millisecond}
	_, err := w.pods[0].Ask(short, "udp", clusterIP+":80")
	require.Error(t, err)
	w.expect(w.pods[0], "tcp", clusterIP+":80", "pod1", "")
	w.update(state{key: with.key})
	_, err = w.pods[0].Ask(short, "tcp", clusterIP+":80")
	require.Error(t, err)
	out, err := exec.Command("iptables-save").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "default/web")
	require.NotContains(t, string(out), "KUBE-SEP-")
}

// TestUDPFlowsFollowTheEndpoints sends from one socket again and again, so that the kernel sees one flow.
func TestUDPFlowsFollowTheEndpoints(t *testing.T) {
	for _, to := range []string{clusterIP + ":80", nodeIP + ":30081"} {
		t.Run(to, func(t *testing.T) {
			w := newWorld(t)
			w.update(service([]int{1}, nil))
			var conn net.Conn
			require.NoError(t, w.client.Do(func() (err error) { conn, err = net.Dial("udp", to); return err }))
			defer conn.Close()
			say := func() (string, error) {
				if _, err := conn.Write([]byte("?")); err != nil {
					return "", err
				}
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
				buf := make([]byte, 100)
				n, err := conn.Read(buf)
				name, _, _ := strings.Cut(string(buf[:n]), " ")
				return name, err
			}
			got, err := say()
			require.NoError(t, err)
			require.Equal(t, "pod1", got)
			w.update(service([]int{2}, nil))
			got, err = say()
			require.NoError(t, err)
			require.Equal(t, "pod2", got)
			w.update(service(nil, nil))
			_, err = say()
			require.Error(t, err)
			w.update(service([]int{0}, nil))
			_, _ = conn.Read(make([]byte, 100)) // the refusal of before may still be queued
			got, err = say()
			require.NoError(t, err)
			require.Equal(t, "pod0", got)
		})
	}
}

func TestTrafficPolicies(t *testing.T) {
	w := newWorld(t)
	local := func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal }
	w.update(service([]int{0, 1}, local)) // pod 0 is on this node
	for range 10 {
		w.expect(w.client, "tcp", nodeIP+":30080", "pod0", clientIP)
	}
	w.update(service([]int{1}, local))
	_, err := w.client.Ask(net.Dialer{Timeout: 300 * time.Millisecond}, "tcp", nodeIP+":30080")
	require.Error(t, err, "there is no local endpoint")
	w.expect(w.pods[0], "tcp", nodeIP+":30080", "pod1", "") // pods and the node itself get through
	w.expect(w.node, "tcp", nodeIP+":30080", "pod1", "")

	internal := func(s *corev1.Service) {
		s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	}
	w.update(service([]int{0, 1}, internal))
	for range 10 {
		w.expect(w.pods[2], "tcp", clusterIP+":80", "pod0", podIP(2))
	}
}

func TestLoadBalancerAndExternalIPs(t *testing.T) {
	w := newWorld(t)
	const balancer, external = "198.51.100.7", "198.51.100.8"
	lb := func(ranges ...string) state {
		return service([]int{1}, func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeLoadBalancer
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: balancer}}
			s.Spec.ExternalIPs = []string{external}
			s.Spec.LoadBalancerSourceRanges = ranges
		})
	}
	w.update(lb())
	w.expect(w.client, "tcp", balancer+":80", "pod1", "10.244.1.1")
	w.expect(w.client, "udp", external+":80", "pod1", "10.244.1.1")
	w.update(lb("203.0.113.0/24"))
	_, err := w.client.Ask(net.Dialer{Timeout: 300 * time.Millisecond}, "tcp", balancer+":80")
	require.Error(t, err, "the client is not in the ranges")
	w.expect(w.client, "tcp", external+":80", "pod1", "")
	w.update(lb("203.0.113.0/24", "192.0.2.0/24"))
	w.expect(w.client, "tcp", balancer+":80", "pod1", "")
}

func TestAFullWriteRepairsAndRemovesWhatIsStale(t *testing.T) {
	w := newWorld(t)
	w.update(service([]int{1}, nil))
	other := service([]int{2}, func(s *corev1.Service) { s.Name, s.Spec.ClusterIP = "other", "10.96.0.51" })
	other.key.name = "other"
	w.update(other)
	before := rules(t)
	require.NoError(t, exec.Command("iptables", "-t", "nat", "-F").Run())
	w.tables = newTable(w.tables.tools, slog.Default()) // another process
	w.full(service([]int{1}, nil), other)
	require.Equal(t, before, rules(t))
	requireNothingToWrite(t, w, service([]int{1}, nil), other)
	w.tables = newTable(w.tables.tools, slog.Default())
	w.full(service([]int{1}, nil))
	require.NotContains(t, rules(t), "default/other")
	w.expect(w.pods[0], "tcp", clusterIP+":80", "pod1", "")
	w.expect(w.client, "tcp", nodeIP+":30080", "pod1", "")
}

// requireNothingToWrite checks that a full write recognises every rule that is there.
func requireNothingToWrite(t *testing.T, w *world, states ...state) {
	t.Helper()
	fresh := newTable(w.tables.tools, slog.Default())
	d, _, err := fresh.plan(context.Background(), w.config(), states)
	require.NoError(t, err)
	require.Empty(t, string(d.Text(plan.OneBlock)))
}

// everyKind is a Service with rules of every kind.
func everyKind(s *corev1.Service) {
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Spec.HealthCheckNodePort = 30999
	s.Spec.ExternalIPs = []string{"198.51.100.8"}
	s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.7"}}
}

func TestRulesInTheKernelAreRecognised(t *testing.T) {
	w := newWorld(t)
	for _, pods := range [][]int{{0, 1, 2}, {1, 2}, nil} {
		w.full(service(pods, everyKind))
		requireNothingToWrite(t, w, service(pods, everyKind))
	}
}

// rules gives all rules in an order that does not depend on how they came to be.
func rules(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, table := range plan.Tables() {
		saved, err := exec.Command("iptables-save", "-t", table).Output()
		require.NoError(t, err)
		for _, l := range strings.Split(string(saved), "\n") {
			if strings.HasPrefix(l, "-A ") {
				out = append(out, table+" "+l)
			}
		}
	}
	return sorted(out)
}

func TestFlushesAreSeen(t *testing.T) {
	w := newWorld(t)
	if !w.tables.tools.NFT {
		t.Skip("the legacy tables tell of nothing")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- w.tables.tools.WatchFor(ctx, plan.Canary, plan.Tables(), func(table string) { seen <- table })
	}()
	// The watch may not have begun yet, so the flush is repeated; changes of our own must not be taken for one.
	for {
		w.update(service([]int{1}, nil))
		w.update(service([]int{2}, nil))
		require.Empty(t, seen)
		require.NoError(t, exec.Command("iptables", "-t", "filter", "-F").Run())
		select {
		case table := <-seen:
			require.Equal(t, "filter", table)
			cancel()
			require.NoError(t, <-ended)
			return
		case <-time.After(100 * time.Millisecond):
			w.full()
		}
	}
}

// TestLegacyTables runs where the kubelet's hint says that the node's rules are in the legacy tables.
func TestLegacyTables(t *testing.T) {
	nettest.Need(t)
	if _, err := exec.LookPath("iptables-legacy"); err != nil {
		t.Skip("no legacy tools")
	}
	require.NoError(t, exec.Command("iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT").Run())
	defer func() {
		require.NoError(t, exec.Command("iptables-legacy", "-t", "mangle", "-X", "KUBE-IPTABLES-HINT").Run())
	}()
	w := newWorld(t)
	require.False(t, w.tables.tools.NFT)
	sticky := func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }
	w.update(service([]int{0, 1}, sticky))
	w.expect(w.client, "tcp", nodeIP+":30080", "", "10.244.1.1")
	w.update(service([]int{1}, nil))
	w.expect(w.pods[0], "udp", clusterIP+":80", "pod1", podIP(0))
	w.full(service([]int{0, 1, 2}, everyKind))
	requireNothingToWrite(t, w, service([]int{0, 1, 2}, everyKind))
	w.full(service([]int{1}, nil))
	out, err := exec.Command("iptables-legacy-save", "-t", "nat").Output()
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(out), "-A PREROUTING "), "the jumps were not recognised")
	w.update(state{key: serviceKey{"default", "web"}})
	_, err = w.pods[0].Ask(net.Dialer{Timeout: 200 * time.Millisecond}, "tcp", clusterIP+":80")
	require.Error(t, err)
	require.NoError(t, Cleanup(context.Background()))
	out, err = exec.Command("iptables-legacy-save").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "KUBE-SERVICES")
}
