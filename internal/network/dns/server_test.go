package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/testenv"
)

// upstreamServer is a resolver of the world outside, with www.example.com and many records at big.example.com.
func upstreamServer(t *testing.T) (address string, asked *atomic.Int32) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	require.NoError(t, err)
	asked = &atomic.Int32{}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg)
		m.SetReply(r)
		hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
		switch q := r.Question[0]; {
		case strings.EqualFold(q.Name, "www.example.com.") && q.Qtype == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: hdr, A: net.IPv4(192, 0, 2, 80)}}
		case q.Name == "big.example.com.":
			for i := range 200 {
				m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.IPv4(192, 0, 2, byte(i))})
			}
		default:
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 10}, Ns: "ns.example.com.", Mbox: "x.example.com.", Minttl: 10}}
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(udpSize)
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() { pc.Close(); l.Close() })
	return pc.LocalAddr().String(), asked
}

// cluster is an API server with objects, and a name server over it.
type cluster struct {
	t       *testing.T
	c       client.Interface
	address string
	asked   *atomic.Int32
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	k := &cluster{t: t, c: servertest.Start(t, nil).Admin()}
	var upstream string
	upstream, k.asked = upstreamServer(t)
	k.fill()
	port := testenv.FreePort(t)
	k.address = fmt.Sprintf("127.0.0.1:%d", port)
	s, err := New(k.c, Config{
		// The second address does not exist here.
		BindAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.77")}, Port: uint16(port), Upstreams: []string{upstream},
		NodeName: "here", ClusterIP: netip.MustParseAddr("10.96.0.10"),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("server ended: %v", err)
	}
	return k
}

func (k *cluster) fill() {
	t, c, ctx := k.t, k.c, context.Background()
	t.Helper()
	for _, ns := range []string{"default", "kube-system"} {
		if _, err := client.Namespaces.Get(ctx, c, "", ns); err != nil {
			_, err = client.Namespaces.Create(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
			require.NoError(t, err)
		}
	}
	service := func(name string, spec corev1.ServiceSpec) {
		_, err := client.Services.Create(ctx, c, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: spec})
		require.NoError(t, err)
	}
	service("web", corev1.ServiceSpec{ClusterIP: "10.96.0.50", Ports: []corev1.ServicePort{
		{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "quic", Port: 443, Protocol: corev1.ProtocolUDP}}})
	service("db", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "sql", Port: 5432, Protocol: corev1.ProtocolTCP}}})
	service("early", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Ports: []corev1.ServicePort{{Name: "x", Port: 1}}})
	service("out", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example.com"})
	service("nowhere", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "foo.example.com"})
	service("inside", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.default.svc.cluster.local"})
	slice := func(service string, endpoints ...discoveryv1.Endpoint) {
		_, err := client.EndpointSlices.Create(ctx, c, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
			Ports: []discoveryv1.EndpointPort{{Name: ptr.To("sql"), Port: ptr.To[int32](5432), Protocol: ptr.To(corev1.ProtocolTCP)}},
		})
		require.NoError(t, err)
	}
	not := discoveryv1.EndpointConditions{Ready: ptr.To(false)}
	slice("db",
		discoveryv1.Endpoint{Addresses: []string{"10.244.1.5"}, Hostname: ptr.To("db-0")},
		discoveryv1.Endpoint{Addresses: []string{"10.244.1.6"}},
		discoveryv1.Endpoint{Addresses: []string{"10.244.1.7"}, Hostname: ptr.To("db-2"), Conditions: not})
	slice("early", discoveryv1.Endpoint{Addresses: []string{"10.244.1.8"}, Hostname: ptr.To("e-0"), Conditions: not})
}

// ask gives an answer's code and its records as text, without time to live.
func (k *cluster) ask(network, name, qtype string) (string, []string, *dns.Msg) {
	k.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[qtype])
	c := dns.Client{Net: network, Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, k.address)
	require.NoError(k.t, err, "%s %s", name, qtype)
	var out []string
	for _, rr := range r.Answer {
		h := rr.Header()
		out = append(out, h.Name+" "+dns.TypeToString[h.Rrtype]+" "+strings.TrimPrefix(rr.String(), h.String()))
	}
	slices.Sort(out)
	return dns.RcodeToString[r.Rcode], out, r
}

func TestAnswers(t *testing.T) {
	k := startCluster(t)
	for _, c := range []struct {
		name, qtype, code string
		want              []string
	}{
		{"web.default.svc.cluster.local.", "A", "NOERROR", []string{"web.default.svc.cluster.local. A 10.96.0.50"}},
		{"WEB.default.svc.Cluster.local.", "A", "NOERROR", []string{"WEB.default.svc.Cluster.local. A 10.96.0.50"}},
		{"web.default.svc.cluster.local.", "AAAA", "NOERROR", nil},
		{"web.default.svc.cluster.local.", "SRV", "NOERROR", []string{
			"web.default.svc.cluster.local. SRV 0 50 443 web.default.svc.cluster.local.", "web.default.svc.cluster.local. SRV 0 50 80 web.default.svc.cluster.local."}},
		{"_http._tcp.web.default.svc.cluster.local.", "SRV", "NOERROR", []string{"_http._tcp.web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local."}},
		{"_http._tcp.web.default.svc.cluster.local.", "A", "NOERROR", nil},
		{"_http._udp.web.default.svc.cluster.local.", "SRV", "NXDOMAIN", nil},
		{"_tcp.web.default.svc.cluster.local.", "SRV", "NOERROR", nil},
		{"50.0.96.10.in-addr.arpa.", "PTR", "NOERROR", []string{"50.0.96.10.in-addr.arpa. PTR web.default.svc.cluster.local."}},
		{"db.default.svc.cluster.local.", "A", "NOERROR", []string{"db.default.svc.cluster.local. A 10.244.1.5", "db.default.svc.cluster.local. A 10.244.1.6"}},
		{"db-0.db.default.svc.cluster.local.", "A", "NOERROR", []string{"db-0.db.default.svc.cluster.local. A 10.244.1.5"}},
		{"10-244-1-6.db.default.svc.cluster.local.", "A", "NOERROR", []string{"10-244-1-6.db.default.svc.cluster.local. A 10.244.1.6"}},
		{"db-2.db.default.svc.cluster.local.", "A", "NXDOMAIN", nil},
		{"e-0.early.default.svc.cluster.local.", "A", "NOERROR", []string{"e-0.early.default.svc.cluster.local. A 10.244.1.8"}},
		{"_sql._tcp.db.default.svc.cluster.local.", "SRV", "NOERROR", []string{
			"_sql._tcp.db.default.svc.cluster.local. SRV 0 50 5432 10-244-1-6.db.default.svc.cluster.local.",
			"_sql._tcp.db.default.svc.cluster.local. SRV 0 50 5432 db-0.db.default.svc.cluster.local."}},
		{"5.1.244.10.in-addr.arpa.", "PTR", "NOERROR", []string{"5.1.244.10.in-addr.arpa. PTR db-0.db.default.svc.cluster.local."}},
		{"10-1-2-3.default.pod.cluster.local.", "A", "NOERROR", []string{"10-1-2-3.default.pod.cluster.local. A 10.1.2.3"}},
		{"10-1-2-3.missing.pod.cluster.local.", "A", "NXDOMAIN", nil},
		{"nonsense.default.pod.cluster.local.", "A", "NXDOMAIN", nil},
		{"out.default.svc.cluster.local.", "A", "NOERROR", []string{"out.default.svc.cluster.local. CNAME www.example.com.", "www.example.com. A 192.0.2.80"}},
		{"out.default.svc.cluster.local.", "CNAME", "NOERROR", []string{"out.default.svc.cluster.local. CNAME www.example.com."}},
		{"nowhere.default.svc.cluster.local.", "A", "NOERROR", []string{"nowhere.default.svc.cluster.local. CNAME foo.example.com."}},
		{"inside.default.svc.cluster.local.", "A", "NOERROR", []string{
			"inside.default.svc.cluster.local. CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. A 10.96.0.50"}},
		{"dns-version.cluster.local.", "TXT", "NOERROR", []string{`dns-version.cluster.local. TXT "1.1.0"`}},
		{"cluster.local.", "NS", "NOERROR", []string{"cluster.local. NS ns.dns.cluster.local."}},
		{"ns.dns.cluster.local.", "A", "NOERROR", []string{"ns.dns.cluster.local. A 10.96.0.10"}},
		{"svc.cluster.local.", "A", "NOERROR", nil},
		{"default.svc.cluster.local.", "A", "NOERROR", nil},
		{"missing.svc.cluster.local.", "A", "NXDOMAIN", nil},
		{"missing.default.svc.cluster.local.", "A", "NXDOMAIN", nil},
		{"www.example.com.default.svc.cluster.local.", "A", "NXDOMAIN", nil},
		{"www.example.com.", "A", "NOERROR", []string{"www.example.com. A 192.0.2.80"}},
		{"missing.example.com.", "A", "NXDOMAIN", nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			code, got, msg := k.ask(network, c.name, c.qtype)
			require.Equal(t, c.code, code, "%s %s", c.name, c.qtype)
			require.Equal(t, c.want, got, "%s %s", c.name, c.qtype)
			if ours := strings.HasSuffix(strings.ToLower(c.name), "cluster.local."); ours {
				require.True(t, msg.Authoritative, c.name)
				if len(got) == 0 {
					require.Len(t, msg.Ns, 1, "%s %s: no SOA", c.name, c.qtype)
				}
			}
		}
	}
}

func TestAnswersFollowTheObjects(t *testing.T) {
	k := startCluster(t)
	ctx := context.Background()
	_, err := client.Services.Modify(ctx, k.c, "default", "nowhere", func(s *corev1.Service) bool {
		s.Spec.ExternalName = "bar.example.com"
		return true
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, got, _ := k.ask("udp", "nowhere.default.svc.cluster.local.", "CNAME")
		return len(got) == 1 && strings.HasSuffix(got[0], "CNAME bar.example.com.")
	}, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, client.Services.Delete(ctx, k.c, "default", "web"))
	require.Eventually(t, func() bool {
		code, _, _ := k.ask("udp", "web.default.svc.cluster.local.", "A")
		return code == "NXDOMAIN"
	}, 5*time.Second, 5*time.Millisecond)
}

func TestOtherNamesAreCachedAndTruncated(t *testing.T) {
	k := startCluster(t)
	for range 3 {
		k.ask("udp", "www.example.com.", "A")
		k.ask("udp", "missing.example.com.", "A")
	}
	require.Equal(t, int32(2), k.asked.Load())
	_, got, msg := k.ask("udp", "big.example.com.", "A")
	require.True(t, msg.Truncated)
	require.Less(t, len(got), 200)
	_, got, msg = k.ask("tcp", "big.example.com.", "A")
	require.False(t, msg.Truncated)
	require.Len(t, got, 200)
}

func TestTheServerAnnouncesItself(t *testing.T) {
	k := startCluster(t)
	ctx := context.Background()
	announced := func(want string) func() bool {
		return func() bool {
			n, err := client.Nodes.Get(ctx, k.c, "", "here")
			return err == nil && n.Annotations[EndpointsAnnotation] == want
		}
	}
	port := k.address[strings.LastIndex(k.address, ":"):]
	_, err := client.Nodes.Create(ctx, k.c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}})
	require.NoError(t, err)
	require.Eventually(t, announced("203.0.113.77"+port), 10*time.Second, 10*time.Millisecond, "nobody elsewhere could use the loopback address")
	n, err := client.Nodes.Get(ctx, k.c, "", "here")
	require.NoError(t, err)
	require.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("203.0.113.77" + port)}, Announced(n))
	_, err = client.Nodes.Modify(ctx, k.c, "", "here", func(n *corev1.Node) bool { delete(n.Annotations, EndpointsAnnotation); return true })
	require.NoError(t, err)
	require.Eventually(t, announced("203.0.113.77"+port), 10*time.Second, 10*time.Millisecond, "after somebody removed it")
}

func TestAnnounceNothing(t *testing.T) {
	c := servertest.Start(t, nil).Admin()
	_, err := client.Nodes.Create(t.Context(), c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{EndpointsAnnotation: "10.0.0.1:53", "other": "x"}}})
	require.NoError(t, err)
	go func() { _ = Announce(t.Context(), c, "n", nil) }()
	require.Eventually(t, func() bool {
		n, err := client.Nodes.Get(t.Context(), c, "", "n")
		_, there := n.Annotations[EndpointsAnnotation]
		return err == nil && !there && n.Annotations["other"] == "x"
	}, 10*time.Second, 10*time.Millisecond)
}

func TestResolvConfIsFollowed(t *testing.T) {
	upstream, _ := upstreamServer(t)
	host, port, err := net.SplitHostPort(upstream)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	path := filepath.Join(t.TempDir(), "resolv.conf")
	own := netip.MustParseAddr("10.244.1.1")
	cfg := Config{BindAddresses: []netip.Addr{own}, ResolvConf: path}
	require.NoError(t, cfg.complete())
	f := newForwarder(10, func(a netip.AddrPort) bool { return a.Addr() == own }, cfg.Log)
	require.NoError(t, f.follow(t.Context(), path))
	require.Empty(t, *f.upstreams.Load())
	_, err = f.ask(t.Context(), dns.Question{Name: "x.example.com.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, false)
	require.ErrorIs(t, err, errNoUpstream)
	require.NoError(t, os.WriteFile(path, []byte("nameserver 10.244.1.1\nnameserver 192.0.2.53\n"), 0o644))
	require.Eventually(t, func() bool {
		u := *f.upstreams.Load()
		return len(u) == 1 && u[0].address == "192.0.2.53:53"
	}, 5*time.Second, 5*time.Millisecond, "its own address is left out")
	_ = port
}

func TestCacheForgetsWhatWasUsedLongestAgo(t *testing.T) {
	c := newCache(2)
	now := time.Unix(1000, 0)
	put := func(name string, ttl uint32) cacheKey {
		k := cacheKey{name: name, qtype: dns.TypeA}
		m := new(dns.Msg)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Ttl: ttl}, A: net.IPv4(1, 1, 1, 1)}}
		c.put(k, m, now)
		return k
	}
	a, b := put("a.", 60), put("b.", 10)
	m, ok := c.get(a, now.Add(5*time.Second))
	require.True(t, ok)
	require.Equal(t, uint32(55), m.Answer[0].Header().Ttl)
	_, ok = c.get(b, now.Add(10*time.Second))
	require.False(t, ok, "its time is over")
	b = put("b.", 60)
	c.get(a, now)
	put("c.", 60)
	_, ok = c.get(b, now)
	require.False(t, ok)
	_, ok = c.get(a, now)
	require.True(t, ok)
	put("d.", 0)
	require.Len(t, c.byKey, 2)
}

func TestReverseAddress(t *testing.T) {
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa.": "1.2.3.4", "3.2.1.in-addr.arpa.": "", "x.3.2.1.in-addr.arpa.": "", "example.com.": "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": "2001:db8::1", "1.ip6.arpa.": "",
	} {
		got, ok := reverseAddress(name)
		require.Equal(t, want != "", ok, name)
		if ok {
			require.Equal(t, want, got.String())
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, s := range []string{"a.b.svc.cluster.local.", "_a._b.c.d.svc.cluster.local.", "1-2-3-4.d.pod.cluster.local.", "-.pod.cluster.local.", "cluster.local."} {
		f.Add(s)
	}
	z := &zone{domain: "cluster.local.", store: everything{}, self: func() []netip.Addr { return nil }}
	f.Fuzz(func(t *testing.T, name string) {
		if labels, ok := z.below(name); ok {
			z.lookup(name, labels, dns.TypeSRV)
		}
		reverseAddress(name)
	})
}

// everything is a store in which each name is a headless Service without endpoints.
type everything struct{}

func (everything) service(namespace, name string) (*corev1.Service, bool) {
	return &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}}, true
}
func (everything) slices(string, string) []*discoveryv1.EndpointSlice { return nil }
func (everything) servicesAt(netip.Addr) []*corev1.Service            { return nil }
func (everything) slicesAt(netip.Addr) []*discoveryv1.EndpointSlice   { return nil }
func (everything) namespace(string) bool                              { return true }
