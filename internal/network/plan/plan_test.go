package plan

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scenario is a testdata/*.yaml file: the objects of one Service and what else rules depend on.
type scenario struct {
	IPv6                      bool
	MasqueradeAll, Brief      bool
	NodeIPs, NodePortIPs      []string
	NoLocalhostNodePorts      bool
	ClusterCIDR, PodInterface string
	Zone                      string
	Service                   corev1.Service
	Slices                    []*discoveryv1.EndpointSlice
}

func (s *scenario) config(t *testing.T) *Config {
	t.Helper()
	c := &Config{IPv6: s.IPv6, Node: Node{Name: "here", Zone: s.Zone}, MasqueradeAll: s.MasqueradeAll, MasqueradeBit: 14,
		RandomFully: true, LocalhostNodePorts: !s.NoLocalhostNodePorts, Local: LocalDetector{Interface: s.PodInterface}, Brief: s.Brief}
	if s.ClusterCIDR != "" {
		c.Local.CIDR = netip.MustParsePrefix(s.ClusterCIDR)
	}
	c.NodeIPs, c.NodePortIPs = addresses(s.NodeIPs, s.IPv6), addresses(s.NodePortIPs, s.IPv6)
	return c
}

func (s *scenario) rules(c *Config) []*Rules {
	var out []*Rules
	for _, p := range PortsOf(&s.Service, s.IPv6) {
		r := c.Render(&p, Select(EndpointsOf(&p, s.Slices, c.Node), c.Node))
		out = append(out, &r)
	}
	return out
}

// TestRules renders each scenario as a full write into empty tables.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var s scenario
			require.NoError(t, yaml.UnmarshalStrict(data, &s))
			c := s.config(t)
			var d Delta
			d.Full(c, s.rules(c), nil)
			golden := strings.TrimSuffix(file, ".yaml") + ".rules"
			if *update {
				require.NoError(t, os.WriteFile(golden, d.Text(OneBlock), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(d.Text(OneBlock)))
		})
	}
}

func TestChainNamesAreUpstreams(t *testing.T) {
	// As kube-proxy names them for the Service default/kubernetes of any cluster, and for kube-dns.
	for name, want := range map[PortName]string{
		{"default", "kubernetes", "https"}:     "NPX46M4PTMTKRN6Y",
		{"kube-system", "kube-dns", "dns-tcp"}: "ERIFXISQEP7F7OF4",
	} {
		require.Equal(t, want, hash(name.String(), "tcp"))
	}
	require.Equal(t, "TCOU7JCQXEZGVUNU", hash("kube-system/kube-dns:dns", "udp"))
}

func endpoint(ip string, change func(*discoveryv1.Endpoint)) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}}
	if change != nil {
		change(&e)
	}
	return e
}

func TestSelect(t *testing.T) {
	local := func(e *discoveryv1.Endpoint) { e.NodeName = ptr.To("here") }
	notReady := func(e *discoveryv1.Endpoint) { e.Conditions.Ready = ptr.To(false) }
	draining := func(e *discoveryv1.Endpoint) {
		e.Conditions = discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}
	}
	zones := func(z ...string) func(*discoveryv1.Endpoint) {
		return func(e *discoveryv1.Endpoint) {
			e.Hints = &discoveryv1.EndpointHints{}
			for _, name := range z {
				e.Hints.ForZones = append(e.Hints.ForZones, discoveryv1.ForZone{Name: name})
			}
		}
	}
	both := func(all ...func(*discoveryv1.Endpoint)) func(*discoveryv1.Endpoint) {
		return func(e *discoveryv1.Endpoint) {
			for _, f := range all {
				f(e)
			}
		}
	}
	node := func(n string) func(*discoveryv1.Endpoint) {
		return func(e *discoveryv1.Endpoint) {
			if e.Hints == nil {
				e.Hints = &discoveryv1.EndpointHints{}
			}
			e.Hints.ForNodes = []discoveryv1.ForNode{{Name: n}}
		}
	}
	for _, c := range []struct {
		name           string
		in             []discoveryv1.Endpoint
		cluster, local string
		any            bool
	}{
		{"ready and not", []discoveryv1.Endpoint{endpoint("10.0.0.1", nil), endpoint("10.0.0.2", notReady), endpoint("10.0.0.3", local)}, "1 3", "3", true},
		{"draining ones are unused while others are ready", []discoveryv1.Endpoint{endpoint("10.0.0.1", nil), endpoint("10.0.0.2", draining)}, "1", "", true},
		{"only draining ones", []discoveryv1.Endpoint{endpoint("10.0.0.1", notReady), endpoint("10.0.0.2", draining)}, "2", "", true},
		{"local draining beside remote ready", []discoveryv1.Endpoint{endpoint("10.0.0.1", nil), endpoint("10.0.0.2", both(local, draining))}, "1", "2", true},
		{"none", []discoveryv1.Endpoint{endpoint("10.0.0.1", notReady)}, "", "", false},
		{"hints for the zone", []discoveryv1.Endpoint{endpoint("10.0.0.1", zones("a")), endpoint("10.0.0.2", zones("b")), endpoint("10.0.0.3", zones("b", "a"))}, "1 3", "", true},
		{"one lacks hints", []discoveryv1.Endpoint{endpoint("10.0.0.1", zones("a")), endpoint("10.0.0.2", nil)}, "1 2", "", true},
		{"hints for other zones only", []discoveryv1.Endpoint{endpoint("10.0.0.1", zones("b")), endpoint("10.0.0.2", zones("c"))}, "1 2", "", true},
		{"one that is not ready needs no hints", []discoveryv1.Endpoint{endpoint("10.0.0.1", zones("a")), endpoint("10.0.0.2", notReady)}, "1", "", true},
		{"the node goes before the zone", []discoveryv1.Endpoint{endpoint("10.0.0.1", both(zones("a"), node("here"))), endpoint("10.0.0.2", both(zones("a"), node("there")))}, "1", "", true},
		{"no hint for the node leaves the zone's", []discoveryv1.Endpoint{endpoint("10.0.0.1", both(zones("a"), node("x"))), endpoint("10.0.0.2", both(zones("b"), node("y")))}, "1", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Port{ClusterIP: netip.MustParseAddr("10.96.0.1"), Protocol: corev1.ProtocolTCP}
			n := Node{Name: "here", Zone: "a"}
			s := Select(EndpointsOf(p, []*discoveryv1.EndpointSlice{{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: c.in,
				Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](80)}}}}, n), n)
			text := func(in []Endpoint) string {
				var out []string
				for _, e := range in {
					out = append(out, strings.TrimPrefix(e.Addr.Addr().String(), "10.0.0."))
				}
				return strings.Join(out, " ")
			}
			require.Equal(t, c.cluster, text(s.Cluster))
			require.Equal(t, c.local, text(s.Local))
			require.Equal(t, c.any, s.Any)
		})
	}
}

func TestEndpointsOfSeveralSlices(t *testing.T) {
	tcp := func(name string, port int32) []discoveryv1.EndpointPort {
		return []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: ptr.To(corev1.ProtocolTCP)}}
	}
	slices := []*discoveryv1.EndpointSlice{
		{AddressType: discoveryv1.AddressTypeIPv4, Ports: tcp("a", 1), Endpoints: []discoveryv1.Endpoint{endpoint("10.0.0.2", nil)}},
		{AddressType: discoveryv1.AddressTypeIPv4, Ports: tcp("a", 2), Endpoints: []discoveryv1.Endpoint{endpoint("10.0.0.1", nil)}},
		{AddressType: discoveryv1.AddressTypeIPv4, Ports: tcp("b", 3), Endpoints: []discoveryv1.Endpoint{endpoint("10.0.0.3", nil)}},
		{AddressType: discoveryv1.AddressTypeIPv6, Ports: tcp("a", 1), Endpoints: []discoveryv1.Endpoint{endpoint("fd00::1", nil)}},
		// The same endpoint on its way from one slice to another.
		{AddressType: discoveryv1.AddressTypeIPv4, Ports: tcp("a", 1), Endpoints: []discoveryv1.Endpoint{endpoint("10.0.0.2", func(e *discoveryv1.Endpoint) { e.Conditions.Ready = ptr.To(false) })}},
	}
	p := &Port{Name: PortName{Port: "a"}, ClusterIP: netip.MustParseAddr("10.96.0.1"), Protocol: corev1.ProtocolTCP}
	got := EndpointsOf(p, slices, Node{})
	require.Len(t, got, 2)
	require.Equal(t, "10.0.0.1:2 10.0.0.2:1", fmt.Sprint(got[0].Addr, " ", got[1].Addr))
	require.True(t, got[1].Ready)
}

func TestADeltaTouchesOnlyWhatChanged(t *testing.T) {
	data, err := os.ReadFile("testdata/nodeport.yaml")
	require.NoError(t, err)
	var s scenario
	require.NoError(t, yaml.UnmarshalStrict(data, &s))
	c := s.config(t)
	before := s.rules(c)
	var same Delta
	for i := range before {
		same.Change(before[i], s.rules(c)[i])
	}
	require.True(t, same.Empty())
	s.Slices[0].Endpoints = s.Slices[0].Endpoints[:1]
	after := s.rules(c)
	var d Delta
	d.Change(before[0], after[0])
	text := string(d.Text(OneBlock))
	require.NotContains(t, text, "KUBE-SERVICES")
	require.NotContains(t, text, "KUBE-NODEPORTS")
	require.NotContains(t, text, "*filter")
	require.Equal(t, 1, strings.Count(text, "-X KUBE-SEP-"))
	require.Equal(t, 1, strings.Count(text, ":KUBE-SVC-"))
}

// TestBlocksKeepTheOrder checks that no line leads to a chain that an earlier or the same transaction has not made.
func TestBlocksKeepTheOrder(t *testing.T) {
	c := &Config{MasqueradeBit: 14}
	var ports []*Rules
	for i := range 3000 {
		p := Port{Name: PortName{"ns", fmt.Sprint(i), ""}, Protocol: corev1.ProtocolTCP, Number: 80, NodePort: uint16(30000 + i), ClusterIP: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})}
		r := c.Render(&p, Selection{Any: true, Cluster: []Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80")}}})
		ports = append(ports, &r)
	}
	var d Delta
	d.Full(c, ports, map[string][]byte{"nat": []byte("\n:KUBE-SVC-OLD - [0:0]\n:KUBE-SEP-OLD - [0:0]\n")})
	made := map[string]bool{"MASQUERADE": true, "MARK": true, "ACCEPT": true, "DROP": true, "RETURN": true, "DNAT": true}
	blocks := 0
	for _, line := range strings.Split(string(d.Text(NFTBlock)), "\n") {
		if name, ok := strings.CutPrefix(line, ":"); ok {
			made[strings.Fields(name)[0]] = true
		}
		if line == "*nat" {
			blocks++
		}
		if i := strings.Index(line, " -j "); i >= 0 {
			require.True(t, made[strings.Fields(line[i+4:])[0]], line)
		}
	}
	require.Greater(t, blocks, 4)
	text := string(d.Text(NFTBlock))
	require.Less(t, strings.LastIndex(text, ":KUBE-SEP-OLD"), strings.Index(text, "-X KUBE-S"))
}
